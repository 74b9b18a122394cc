/* Library, system and interface: what there is, and who has it open. */
#define _GNU_SOURCE 1 /* strsep */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig_virtual.h"

#define INTERFACE_ID "rig-virtual-interface"

struct system {
  struct module module;
  bool updated; /* the list of interfaces was asked for */
};
struct interface {
  struct module module;
  unsigned count;
  struct camera_info cameras[MAX_CAMERAS];
};

static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
static struct module *live;
static int initialised_times;
static struct system the_system;
static struct interface the_interface;
static bool system_open, interface_open;

/* handles -------------------------------------------------------------------------------------- */
void enlist(struct module *module, enum kind kind) {
  pthread_mutex_lock(&live_lock);
  module->kind = kind;
  module->next = live;
  live = module;
  pthread_mutex_unlock(&live_lock);
}

void delist(struct module *module) {
  pthread_mutex_lock(&live_lock);
  for (struct module **at = &live; *at; at = &(*at)->next)
    if (*at == module) {
      *at = module->next;
      break;
    }
  pthread_mutex_unlock(&live_lock);
}

enum kind kind_of(const void *handle) {
  enum kind found = 0;
  pthread_mutex_lock(&live_lock);
  for (struct module *at = live; at && !found; at = at->next)
    if (at == handle) found = at->kind;
  pthread_mutex_unlock(&live_lock);
  return found;
}

bool is_live(const void *handle, enum kind kind) { return handle && kind_of(handle) == kind; }

struct device *device_of_remote(const void *remote) {
  return (struct device *)((char *)remote - offsetof(struct device, remote));
}

/* answers -------------------------------------------------------------------------------------- */
GC_ERROR give(INFO_DATATYPE *type, void *out, size_t *size, INFO_DATATYPE kind, const void *data,
              size_t length) {
  if (!size) return fail(GC_ERR_INVALID_PARAMETER, "no place for the size of an answer");
  if (type) *type = kind;
  size_t room = *size;
  *size = length;
  if (!out) return GC_ERR_SUCCESS;
  if (room < length) return fail(GC_ERR_BUFFER_TOO_SMALL, "an answer takes %zu bytes", length);
  memcpy(out, data, length);
  return GC_ERR_SUCCESS;
}

GC_ERROR give_text(INFO_DATATYPE *type, void *out, size_t *size, const char *text) {
  return give(type, out, size, INFO_DATATYPE_STRING, text, strlen(text) + 1);
}

GC_ERROR give_i32(INFO_DATATYPE *type, void *out, size_t *size, int32_t value) {
  return give(type, out, size, INFO_DATATYPE_INT32, &value, sizeof value);
}

static GC_ERROR give_u32(INFO_DATATYPE *type, void *out, size_t *size, uint32_t value) {
  return give(type, out, size, INFO_DATATYPE_UINT32, &value, sizeof value);
}

GC_ERROR refuse_info(void) {
  return fail(GC_ERR_NOT_AVAILABLE, "the virtual rig does not tell this");
}

bool initialised(void) {
  pthread_mutex_lock(&live_lock);
  bool yes = initialised_times > 0;
  pthread_mutex_unlock(&live_lock);
  if (!yes) fail(GC_ERR_NOT_INITIALIZED, "GCInitLib was not called");
  return yes;
}

/* library and system --------------------------------------------------------------------------- */
GC_API GCInitLib(void) {
  pthread_mutex_lock(&live_lock);
  bool again = initialised_times > 0;
  initialised_times = 1;
  pthread_mutex_unlock(&live_lock);
  return again ? fail(GC_ERR_RESOURCE_IN_USE, "GCInitLib was called before") : GC_ERR_SUCCESS;
}

GC_API GCCloseLib(void) {
  if (!initialised()) return GC_ERR_NOT_INITIALIZED;
  pthread_mutex_lock(&live_lock);
  initialised_times = 0;
  pthread_mutex_unlock(&live_lock);
  return GC_ERR_SUCCESS;
}

static GC_ERROR system_info(ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  switch (what) {
    case TL_INFO_ID: return give_text(type, out, size, "rig-virtual-system");
    case TL_INFO_VENDOR: return give_text(type, out, size, "rig");
    case TL_INFO_MODEL: return give_text(type, out, size, "Virtual rig");
    case TL_INFO_VERSION: return give_text(type, out, size, "1.0.0");
    case TL_INFO_TLTYPE: return give_text(type, out, size, TLTYPE);
    case TL_INFO_NAME: return give_text(type, out, size, "rig-virtual.cti");
    case TL_INFO_PATHNAME: return give_text(type, out, size, "rig-virtual.cti");
    case TL_INFO_DISPLAYNAME: return give_text(type, out, size, "Virtual rig (GenTL)");
    case TL_INFO_CHAR_ENCODING: return give_i32(type, out, size, TL_CHAR_ENCODING_UTF8);
    case TL_INFO_GENTL_VER_MAJOR: return give_u32(type, out, size, 1);
    case TL_INFO_GENTL_VER_MINOR: return give_u32(type, out, size, 5);
    default: return refuse_info();
  }
}

GC_API GCGetInfo(ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  return system_info(what, type, out, size); /* may be asked before GCInitLib */
}

GC_API TLOpen(TL_HANDLE *handle) {
  if (!initialised()) return GC_ERR_NOT_INITIALIZED;
  if (!handle) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  pthread_mutex_lock(&live_lock);
  bool busy = system_open;
  system_open = true;
  pthread_mutex_unlock(&live_lock);
  if (busy) return fail(GC_ERR_RESOURCE_IN_USE, "the system is open");
  the_system.updated = false;
  enlist(&the_system.module, SYSTEM);
  *handle = &the_system;
  return GC_ERR_SUCCESS;
}

static bool bad_system(TL_HANDLE handle) {
  if (is_live(handle, SYSTEM)) return false;
  fail(GC_ERR_INVALID_HANDLE, "this is no handle of an open system");
  return true;
}

GC_API TLClose(TL_HANDLE handle) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  delist(&the_system.module);
  pthread_mutex_lock(&live_lock);
  system_open = false;
  pthread_mutex_unlock(&live_lock);
  return GC_ERR_SUCCESS;
}

GC_API TLGetInfo(TL_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  return system_info(what, type, out, size);
}

GC_API TLUpdateInterfaceList(TL_HANDLE handle, bool8_t *changed, uint64_t timeout_ms) {
  (void)timeout_ms;
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  if (changed) *changed = !the_system.updated;
  the_system.updated = true;
  return GC_ERR_SUCCESS;
}

GC_API TLGetNumInterfaces(TL_HANDLE handle, uint32_t *count) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  if (!count) return fail(GC_ERR_INVALID_PARAMETER, "no place for the number");
  *count = the_system.updated ? 1 : 0;
  return GC_ERR_SUCCESS;
}

GC_API TLGetInterfaceID(TL_HANDLE handle, uint32_t index, char *id, size_t *size) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  if (index != 0) return fail(GC_ERR_INVALID_INDEX, "there is one interface");
  return give_text(NULL, id, size, INTERFACE_ID);
}

static GC_ERROR interface_info(ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  switch (what) {
    case INTERFACE_INFO_ID: return give_text(type, out, size, INTERFACE_ID);
    case INTERFACE_INFO_DISPLAYNAME: return give_text(type, out, size, "Virtual rig");
    case INTERFACE_INFO_TLTYPE: return give_text(type, out, size, TLTYPE);
    default: return refuse_info();
  }
}

GC_API TLGetInterfaceInfo(TL_HANDLE handle, const char *id, ENUM32 what, INFO_DATATYPE *type,
                          void *out, size_t *size) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  if (!id || strcmp(id, INTERFACE_ID)) return fail(GC_ERR_INVALID_ID, "no such interface");
  return interface_info(what, type, out, size);
}

GC_API TLOpenInterface(TL_HANDLE handle, const char *id, IF_HANDLE *interface) {
  if (bad_system(handle)) return GC_ERR_INVALID_HANDLE;
  if (!id || strcmp(id, INTERFACE_ID)) return fail(GC_ERR_INVALID_ID, "no such interface");
  if (!interface) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  pthread_mutex_lock(&live_lock);
  bool busy = interface_open;
  interface_open = true;
  pthread_mutex_unlock(&live_lock);
  if (busy) return fail(GC_ERR_RESOURCE_IN_USE, "the interface is open");
  the_interface.count = 0;
  enlist(&the_interface.module, INTERFACE);
  *interface = &the_interface;
  return GC_ERR_SUCCESS;
}

/* interface ------------------------------------------------------------------------------------ */
static bool bad_interface(IF_HANDLE handle) {
  if (is_live(handle, INTERFACE)) return false;
  fail(GC_ERR_INVALID_HANDLE, "this is no handle of an open interface");
  return true;
}

GC_API IFClose(IF_HANDLE handle) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  delist(&the_interface.module);
  pthread_mutex_lock(&live_lock);
  interface_open = false;
  pthread_mutex_unlock(&live_lock);
  return GC_ERR_SUCCESS;
}

GC_API IFGetInfo(IF_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  return interface_info(what, type, out, size);
}

static void copy_field(char *to, char **at) {
  char *field = strsep(at, "\t");
  snprintf(to, NAME_LENGTH, "%s", field ? field : "");
}

/* The cameras of the world now; none where no world answers. */
static unsigned list_cameras(struct camera_info *found) {
  char *text = NULL;
  unsigned count = 0;
  int fd = link_connect();
  if (fd < 0) return 0;
  if (!link_ask(fd, OP_LIST, 0, NULL, 0, &text, NULL, NULL, NULL)) {
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) && count < MAX_CAMERAS) {
      if (!*line) continue;
      struct camera_info *camera = &found[count++];
      char status[NAME_LENGTH];
      copy_field(camera->id, &line);
      copy_field(camera->vendor, &line);
      copy_field(camera->model, &line);
      copy_field(camera->serial, &line);
      copy_field(camera->user_name, &line);
      copy_field(camera->version, &line);
      copy_field(status, &line);
      camera->status = atoi(status);
    }
    free(text);
  }
  close(fd);
  return count;
}

GC_API IFUpdateDeviceList(IF_HANDLE handle, bool8_t *changed, uint64_t timeout_ms) {
  (void)timeout_ms;
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  struct camera_info found[MAX_CAMERAS];
  memset(found, 0, sizeof found);
  unsigned count = list_cameras(found);
  bool same = count == the_interface.count;
  for (unsigned i = 0; i < count && same; ++i)
    same = !strcmp(found[i].id, the_interface.cameras[i].id);
  if (changed) *changed = !same;
  memcpy(the_interface.cameras, found, sizeof found);
  the_interface.count = count;
  return GC_ERR_SUCCESS;
}

GC_API IFGetNumDevices(IF_HANDLE handle, uint32_t *count) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  if (!count) return fail(GC_ERR_INVALID_PARAMETER, "no place for the number");
  *count = the_interface.count;
  return GC_ERR_SUCCESS;
}

GC_API IFGetDeviceID(IF_HANDLE handle, uint32_t index, char *id, size_t *size) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  if (index >= the_interface.count) return fail(GC_ERR_INVALID_INDEX, "no camera %u", index);
  return give_text(NULL, id, size, the_interface.cameras[index].id);
}

static struct camera_info *camera_by_id(const char *id) {
  for (unsigned i = 0; id && i < the_interface.count; ++i)
    if (!strcmp(id, the_interface.cameras[i].id)) return &the_interface.cameras[i];
  fail(GC_ERR_INVALID_ID, "the virtual rig has no camera %s", id ? id : "without a name");
  return NULL;
}

GC_API IFGetDeviceInfo(IF_HANDLE handle, const char *id, ENUM32 what, INFO_DATATYPE *type,
                       void *out, size_t *size) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  struct camera_info *camera = camera_by_id(id);
  if (!camera) return GC_ERR_INVALID_ID;
  return device_info(camera, false, what, type, out, size);
}

GC_API IFOpenDevice(IF_HANDLE handle, const char *id, ENUM32 access, DEV_HANDLE *opened) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  struct camera_info *camera = camera_by_id(id);
  if (!camera) return GC_ERR_INVALID_ID;
  if (!opened) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  if (access == DEVICE_ACCESS_NONE) return fail(GC_ERR_INVALID_PARAMETER, "no access asked for");
  struct device *device;
  GC_ERROR error = device_open(camera, &device);
  if (!error) *opened = device;
  return error;
}

GC_API IFGetParentTL(IF_HANDLE handle, TL_HANDLE *system) {
  if (bad_interface(handle)) return GC_ERR_INVALID_HANDLE;
  if (!system) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  *system = &the_system;
  return GC_ERR_SUCCESS;
}

GC_API DevGetParentIF(DEV_HANDLE handle, IF_HANDLE *interface) {
  if (bad_device(handle)) return GC_ERR_INVALID_HANDLE;
  if (!interface) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  *interface = &the_interface;
  return GC_ERR_SUCCESS;
}
