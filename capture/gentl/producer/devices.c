/* A camera that is open: what it is, its registers' port, its end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig_virtual.h"

GC_ERROR device_info(const struct camera_info *camera, bool open, ENUM32 what,
                     INFO_DATATYPE *type, void *out, size_t *size) {
  uint64_t frequency = 1000000000;
  switch (what) {
    case DEVICE_INFO_ID: return give_text(type, out, size, camera->id);
    case DEVICE_INFO_VENDOR: return give_text(type, out, size, camera->vendor);
    case DEVICE_INFO_MODEL: return give_text(type, out, size, camera->model);
    case DEVICE_INFO_TLTYPE: return give_text(type, out, size, TLTYPE);
    case DEVICE_INFO_DISPLAYNAME: return give_text(type, out, size, camera->model);
    case DEVICE_INFO_ACCESS_STATUS:
      return give_i32(type, out, size,
                      open ? DEVICE_ACCESS_STATUS_OPEN_READWRITE : camera->status);
    case DEVICE_INFO_USER_DEFINED_NAME: return give_text(type, out, size, camera->user_name);
    case DEVICE_INFO_SERIAL_NUMBER: return give_text(type, out, size, camera->serial);
    case DEVICE_INFO_VERSION: return give_text(type, out, size, camera->version);
    case DEVICE_INFO_TIMESTAMP_FREQUENCY:
      return give(type, out, size, INFO_DATATYPE_UINT64, &frequency, sizeof frequency);
    default: return refuse_info();
  }
}

GC_ERROR device_open(const struct camera_info *camera, struct device **opened) {
  struct device *device = calloc(1, sizeof *device);
  if (!device) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a camera");
  device->info = *camera;
  device->fd = link_connect();
  char *answer = NULL;
  size_t length = 0;
  GC_ERROR error = link_ask(device->fd, OP_OPEN, 0, camera->id, strlen(camera->id), &answer, &length,
                            NULL, &device->epoch);
  if (!error && length != sizeof(uint64_t)) error = fail(GC_ERR_IO, "a foreign answer");
  if (error) {
    free(answer);
    if (device->fd >= 0) close(device->fd);
    free(device);
    return error;
  }
  uint64_t xml_size;
  memcpy(&xml_size, answer, sizeof xml_size);
  free(answer);
  device->xml_size = (size_t)xml_size;
  device->open = true;
  pthread_mutex_init(&device->lock, NULL);
  enlist(&device->module, DEVICE);
  enlist(&device->remote, REMOTE);
  *opened = device;
  return GC_ERR_SUCCESS;
}

bool bad_device(DEV_HANDLE handle) {
  if (is_live(handle, DEVICE)) return false;
  fail(GC_ERR_INVALID_HANDLE, "this is no handle of an open camera");
  return true;
}

GC_API DevClose(DEV_HANDLE handle) {
  if (bad_device(handle)) return GC_ERR_INVALID_HANDLE;
  struct device *device = handle;
  if (device->stream) stream_close(device->stream);
  link_ask(device->fd, OP_CLOSE, 0, NULL, 0, NULL, NULL, NULL, NULL);
  delist(&device->module);
  delist(&device->remote);
  close(device->fd);
  pthread_mutex_destroy(&device->lock);
  free(device);
  return GC_ERR_SUCCESS;
}

GC_API DevGetInfo(DEV_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  if (bad_device(handle)) return GC_ERR_INVALID_HANDLE;
  return device_info(&((struct device *)handle)->info, true, what, type, out, size);
}

GC_API DevGetPort(DEV_HANDLE handle, PORT_HANDLE *port) {
  if (bad_device(handle)) return GC_ERR_INVALID_HANDLE;
  if (!port) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  *port = &((struct device *)handle)->remote;
  return GC_ERR_SUCCESS;
}

GC_API DevGetNumDataStreams(DEV_HANDLE handle, uint32_t *count) {
  if (bad_device(handle)) return GC_ERR_INVALID_HANDLE;
  if (!count) return fail(GC_ERR_INVALID_PARAMETER, "no place for the number");
  *count = 1;
  return GC_ERR_SUCCESS;
}
