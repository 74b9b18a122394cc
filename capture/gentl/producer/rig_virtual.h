/* The producer's inside. The camera itself is in the process of `rig virtual-rig`; here is only the
 * transport: registers travel over a local socket, pixels through shared memory. */
#ifndef RIG_VIRTUAL_H
#define RIG_VIRTUAL_H
#include <pthread.h>
#include "gentl.h"

#define NAME_LENGTH 64
#define MAX_CAMERAS 16
#define MAX_CHUNKS 8
#define TLTYPE "Custom"

/* link.c: the way to the world ----------------------------------------------------------------- */
/* The messages. An epoch ends whenever the camera starts or stops: a frame of an earlier one that is
 * still on its way is dropped. capture/gentl/wire.py has the same numbers. */
enum { OP_LIST = 1, OP_OPEN, OP_READ, OP_WRITE, OP_STREAM, OP_CLOSE };
struct request { uint32_t length, op; uint64_t address; }; /* `length` bytes follow */
struct reply { uint32_t length; int32_t status; uint32_t epoch, unused; }; /* `length` bytes follow */
struct frame_header {                                      /* chunks follow: id, length, bytes */
  uint64_t frame_id, timestamp_ns, offset, size, filled, pixel_format;
  uint32_t width, height, x, y, slot, flags, chunks, chunk_bytes, epoch, unused;
};
enum { INCOMPLETE = 1, PATIENT = 2 }; /* PATIENT: wait for a buffer rather than lose the frame */
struct chunk_header { uint32_t id, length; };

/* A connected socket, or -1 if no world answers. */
int link_connect(void);
/* One question. `*answer` (to be freed) holds the reply's bytes and a NUL; `fd` what came along. */
GC_ERROR link_ask(int fd, uint32_t op, uint64_t address, const void *data, size_t length,
                  char **answer, size_t *answer_length, int *passed_fd, _Atomic uint32_t *epoch);
bool link_read(int fd, void *data, size_t length);
GC_ERROR fail(GC_ERROR code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* modules.c ------------------------------------------------------------------------------------ */
enum kind { SYSTEM = 1, INTERFACE, DEVICE, REMOTE, STREAM, BUFFER, EVENT };
struct module { /* begins every handle */
  enum kind kind;
  struct module *next; /* in the list of live handles */
};
struct camera_info {
  char id[NAME_LENGTH], vendor[NAME_LENGTH], model[NAME_LENGTH], serial[NAME_LENGTH];
  char user_name[NAME_LENGTH], version[NAME_LENGTH];
  int32_t status;
};
struct stream;
struct event;
struct device {
  struct module module;
  struct module remote; /* the handle of the camera's own registers */
  struct camera_info info;
  pthread_mutex_t lock; /* of the socket */
  int fd;
  size_t xml_size;
  _Atomic uint32_t epoch;
  bool open;
  struct stream *stream;
  struct event *lost; /* registered for EVENT_MODULE */
};

GC_ERROR give(INFO_DATATYPE *type, void *out, size_t *size, INFO_DATATYPE kind, const void *data,
              size_t length);
GC_ERROR give_text(INFO_DATATYPE *type, void *out, size_t *size, const char *text);
void enlist(struct module *module, enum kind kind);
void delist(struct module *module);
bool is_live(const void *handle, enum kind kind);
enum kind kind_of(const void *handle); /* 0 if it is none of ours, or dead */
struct device *device_of_remote(const void *remote);
GC_ERROR give_i32(INFO_DATATYPE *type, void *out, size_t *size, int32_t value);
GC_ERROR refuse_info(void);
bool initialised(void);

/* devices.c ------------------------------------------------------------------------------------ */
GC_ERROR device_info(const struct camera_info *camera, bool open, ENUM32 what, INFO_DATATYPE *type,
                     void *out, size_t *size);
GC_ERROR device_open(const struct camera_info *camera, struct device **opened);
bool bad_device(DEV_HANDLE handle); /* says so */

/* stream.c ------------------------------------------------------------------------------------- */
void stream_close(struct stream *stream);
void device_lost(struct device *device);

/* events.c: a queue that can be waited for ------------------------------------------------------ */
struct event {
  struct module module;
  ENUM32 type;
  pthread_mutex_t *lock;
  pthread_cond_t signal;
  struct stream *stream; /* NEW_BUFFER */
  struct device *device; /* MODULE */
  uint64_t fired;
  unsigned pending; /* MODULE: losses not yet fetched */
  bool killed;
  unsigned waiting;
};
/* Under the stream's lock: the next filled buffer, or NULL; whether the camera is gone. */
EVENT_NEW_BUFFER_DATA stream_pop(struct stream *stream);
size_t stream_waiting(struct stream *stream);
bool stream_lost(struct stream *stream);
void stream_discard_output(struct stream *stream);
pthread_mutex_t *stream_lock(struct stream *stream);
struct event **stream_event(struct stream *stream);

#endif
