/* Ports: every module shows registers and a description. Only the camera's own port has more than
 * an empty description; its registers and its description are read from the world. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig_virtual.h"

#define XML_ADDRESS 0x80000000ULL

/* The modules of the transport itself have nothing to set: their description holds only a root. */
static const char EMPTY_XML[] =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
    "<RegisterDescription ModelName=\"Virtual\" VendorName=\"rig\" "
    "ToolTip=\"Transport module of the virtual rig\" StandardNameSpace=\"None\" "
    "SchemaMajorVersion=\"1\" SchemaMinorVersion=\"1\" SchemaSubMinorVersion=\"0\" "
    "MajorVersion=\"1\" MinorVersion=\"0\" SubMinorVersion=\"0\" "
    "ProductGuid=\"5d3a1f52-5c33-4c0e-9b0e-2f60a1f1c1d0\" "
    "VersionGuid=\"0c1d7a10-7d0a-4f7c-8a1d-63f6c7a0d5e1\" "
    "xmlns=\"http://www.genicam.org/GenApi/Version_1_1\" "
    "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
    "xsi:schemaLocation=\"http://www.genicam.org/GenApi/Version_1_1 "
    "http://www.genicam.org/GenApi/GenApiSchema_Version_1_1.xsd\">\n"
    "<Category Name=\"Root\" NameSpace=\"Standard\"/>\n"
    "<Port Name=\"Device\" NameSpace=\"Standard\"/>\n"
    "</RegisterDescription>\n";

static const char *module_name(enum kind kind) {
  switch (kind) {
    case SYSTEM: return "TLSystem";
    case INTERFACE: return "TLInterface";
    case DEVICE: return "TLDevice";
    case STREAM: return "TLDataStream";
    case REMOTE: return "Device";
    default: return NULL;
  }
}

static size_t xml_size(PORT_HANDLE handle, enum kind kind) {
  return kind == REMOTE ? device_of_remote(handle)->xml_size : sizeof EMPTY_XML - 1;
}

static GC_ERROR bad_port(void) {
  return fail(GC_ERR_INVALID_HANDLE, "this is no handle with a port");
}

static GC_ERROR ask_camera(struct device *device, uint32_t op, uint64_t address, const void *data,
                           size_t length, char **answer, size_t *answered) {
  pthread_mutex_lock(&device->lock);
  GC_ERROR error = link_ask(device->fd, op, address, data, length, answer, answered, NULL, &device->epoch);
  pthread_mutex_unlock(&device->lock);
  return error;
}

GC_API GCReadPort(PORT_HANDLE handle, uint64_t address, void *out, size_t *size) {
  enum kind kind = kind_of(handle);
  if (!module_name(kind)) return bad_port();
  if (!out || !size) return fail(GC_ERR_INVALID_PARAMETER, "no place for what is read");
  if (kind == REMOTE) {
    uint64_t wanted = *size;
    char *answer = NULL;
    size_t length = 0;
    GC_ERROR error = ask_camera(device_of_remote(handle), OP_READ, address, &wanted, sizeof wanted,
                                &answer, &length);
    if (error) return error;
    if (length < *size) *size = length;
    memcpy(out, answer, *size);
    free(answer);
    return GC_ERR_SUCCESS;
  }
  size_t all = sizeof EMPTY_XML - 1;
  if (address < XML_ADDRESS || address - XML_ADDRESS > all)
    return fail(GC_ERR_INVALID_ADDRESS, "no register at 0x%" PRIX64, address);
  size_t left = all - (size_t)(address - XML_ADDRESS);
  if (*size > left) *size = left;
  memcpy(out, EMPTY_XML + (address - XML_ADDRESS), *size);
  return GC_ERR_SUCCESS;
}

GC_API GCWritePort(PORT_HANDLE handle, uint64_t address, const void *data, size_t *size) {
  enum kind kind = kind_of(handle);
  if (!module_name(kind)) return bad_port();
  if (!data || !size) return fail(GC_ERR_INVALID_PARAMETER, "nothing to write");
  if (kind != REMOTE) return fail(GC_ERR_INVALID_ADDRESS, "no register at 0x%" PRIX64, address);
  return ask_camera(device_of_remote(handle), OP_WRITE, address, data, *size, NULL, NULL);
}

static GC_ERROR stacked(PORT_HANDLE handle, PORT_REGISTER_STACK_ENTRY *entries, size_t *count,
                        bool write) {
  if (!entries || !count) return fail(GC_ERR_INVALID_PARAMETER, "no entries");
  for (size_t i = 0; i < *count; ++i) {
    size_t size = entries[i].Size;
    GC_ERROR error = write ? GCWritePort(handle, entries[i].Address, entries[i].pBuffer, &size)
                           : GCReadPort(handle, entries[i].Address, entries[i].pBuffer, &size);
    if (error) {
      *count = i;
      return error;
    }
  }
  return GC_ERR_SUCCESS;
}

GC_API GCReadPortStacked(PORT_HANDLE handle, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
  return stacked(handle, entries, count, false);
}

GC_API GCWritePortStacked(PORT_HANDLE handle, PORT_REGISTER_STACK_ENTRY *entries, size_t *count) {
  return stacked(handle, entries, count, true);
}

GC_API GCGetPortInfo(PORT_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  enum kind kind = kind_of(handle);
  const char *name = module_name(kind);
  if (!name) return bad_port();
  struct device *camera = kind == REMOTE ? device_of_remote(handle) : NULL;
  bool8_t yes = 1, no = 0;
#define FLAG(value) give(type, out, size, INFO_DATATYPE_BOOL8, &(value), sizeof(bool8_t))
  switch (what) {
    case PORT_INFO_ID: return give_text(type, out, size, camera ? camera->info.id : name);
    case PORT_INFO_VENDOR: return give_text(type, out, size, camera ? camera->info.vendor : "rig");
    case PORT_INFO_MODEL:
      return give_text(type, out, size, camera ? camera->info.model : "Virtual rig");
    case PORT_INFO_TLTYPE: return give_text(type, out, size, TLTYPE);
    case PORT_INFO_MODULE: return give_text(type, out, size, name);
    case PORT_INFO_LITTLE_ENDIAN: return FLAG(yes);
    case PORT_INFO_BIG_ENDIAN: return FLAG(no);
    case PORT_INFO_ACCESS_READ: return FLAG(yes);
    case PORT_INFO_ACCESS_WRITE: return camera ? FLAG(yes) : FLAG(no);
    case PORT_INFO_ACCESS_NA: return FLAG(no);
    case PORT_INFO_ACCESS_NI: return FLAG(no);
    case PORT_INFO_VERSION: return give_text(type, out, size, "1.0.0");
    case PORT_INFO_PORTNAME: return give_text(type, out, size, "Device");
    default: return fail(GC_ERR_NOT_AVAILABLE, "the virtual rig does not tell this");
  }
#undef FLAG
}

static void url_of(PORT_HANDLE handle, enum kind kind, char *url, size_t room) {
  snprintf(url, room, "local:///rig-virtual-%s.xml;%llX;%zX?SchemaVersion=1.1.0", module_name(kind),
           XML_ADDRESS, xml_size(handle, kind));
}

GC_API GCGetNumPortURLs(PORT_HANDLE handle, uint32_t *count) {
  if (!module_name(kind_of(handle))) return bad_port();
  if (!count) return fail(GC_ERR_INVALID_PARAMETER, "no place for the number");
  *count = 1;
  return GC_ERR_SUCCESS;
}

GC_API GCGetPortURL(PORT_HANDLE handle, char *url, size_t *size) {
  enum kind kind = kind_of(handle);
  if (!module_name(kind)) return bad_port();
  char text[128];
  url_of(handle, kind, text, sizeof text);
  return give_text(NULL, url, size, text);
}

GC_API GCGetPortURLInfo(PORT_HANDLE handle, uint32_t index, ENUM32 what, INFO_DATATYPE *type,
                        void *out, size_t *size) {
  enum kind kind = kind_of(handle);
  if (!module_name(kind)) return bad_port();
  if (index) return fail(GC_ERR_INVALID_INDEX, "there is one description");
  char text[128];
  int32_t scheme = 0, number = 1, none = 0;
  uint64_t address = XML_ADDRESS, length = xml_size(handle, kind);
  switch (what) {
    case URL_INFO_URL: url_of(handle, kind, text, sizeof text); break;
    case URL_INFO_FILENAME: snprintf(text, sizeof text, "rig-virtual-%s.xml", module_name(kind)); break;
    case URL_INFO_SCHEMA_VER_MAJOR:
    case URL_INFO_SCHEMA_VER_MINOR:
    case URL_INFO_FILE_VER_MAJOR:
      return give(type, out, size, INFO_DATATYPE_INT32, &number, sizeof number);
    case URL_INFO_FILE_VER_MINOR:
    case URL_INFO_FILE_VER_SUBMINOR:
      return give(type, out, size, INFO_DATATYPE_INT32, &none, sizeof none);
    case URL_INFO_FILE_REGISTER_ADDRESS:
      return give(type, out, size, INFO_DATATYPE_UINT64, &address, sizeof address);
    case URL_INFO_FILE_SIZE:
      return give(type, out, size, INFO_DATATYPE_UINT64, &length, sizeof length);
    case URL_INFO_SCHEME: return give(type, out, size, INFO_DATATYPE_INT32, &scheme, sizeof scheme);
    default: return fail(GC_ERR_NOT_AVAILABLE, "the virtual rig does not tell this");
  }
  return give_text(type, out, size, text);
}
