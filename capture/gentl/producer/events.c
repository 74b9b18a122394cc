/* Events: a new buffer on a data stream, and on a camera's module its loss (DEVICE_LOST). */
#define _GNU_SOURCE 1 /* pthread_condattr_setclock */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rig_virtual.h"

static const char LOST[] = "EventDeviceLost";
static pthread_mutex_t loss_lock = PTHREAD_MUTEX_INITIALIZER; /* of events on cameras */

#ifdef __APPLE__
#define WAIT_CLOCK CLOCK_REALTIME
#else
#define WAIT_CLOCK CLOCK_MONOTONIC
#endif

void device_lost(struct device *device) {
  pthread_mutex_lock(&loss_lock);
  if (device->lost) {
    ++device->lost->pending;
    ++device->lost->fired;
    pthread_cond_broadcast(&device->lost->signal);
  }
  pthread_mutex_unlock(&loss_lock);
}

static struct event **place_of(EVENTSRC_HANDLE source, ENUM32 type) {
  if (type == EVENT_NEW_BUFFER && is_live(source, STREAM)) return stream_event(source);
  if (type == EVENT_MODULE && is_live(source, DEVICE)) return &((struct device *)source)->lost;
  if (!kind_of(source)) fail(GC_ERR_INVALID_HANDLE, "this is no handle of a module");
  else fail(GC_ERR_NOT_IMPLEMENTED, "this module has no such event");
  return NULL;
}

static GC_ERROR refusal(EVENTSRC_HANDLE source) {
  return kind_of(source) ? GC_ERR_NOT_IMPLEMENTED : GC_ERR_INVALID_HANDLE;
}

GC_API GCRegisterEvent(EVENTSRC_HANDLE source, ENUM32 type, EVENT_HANDLE *registered) {
  struct event **place = place_of(source, type);
  if (!place) return refusal(source);
  if (!registered) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  struct event *event = calloc(1, sizeof *event);
  if (!event) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for an event");
  event->type = type;
  event->stream = type == EVENT_NEW_BUFFER ? source : NULL;
  event->device = type == EVENT_MODULE ? source : NULL;
  event->lock = event->stream ? stream_lock(source) : &loss_lock;
  pthread_condattr_t how;
  pthread_condattr_init(&how);
#ifndef __APPLE__
  pthread_condattr_setclock(&how, WAIT_CLOCK);
#endif
  pthread_cond_init(&event->signal, &how);
  pthread_condattr_destroy(&how);
  pthread_mutex_lock(event->lock);
  bool busy = *place != NULL;
  if (!busy) *place = event;
  pthread_mutex_unlock(event->lock);
  if (busy) {
    pthread_cond_destroy(&event->signal);
    free(event);
    return fail(GC_ERR_RESOURCE_IN_USE, "this event is registered");
  }
  enlist(&event->module, EVENT);
  *registered = event;
  return GC_ERR_SUCCESS;
}

GC_API GCUnregisterEvent(EVENTSRC_HANDLE source, ENUM32 type) {
  struct event **place = place_of(source, type);
  if (!place) return refusal(source);
  struct event *event = *place;
  if (!event) return fail(GC_ERR_INVALID_PARAMETER, "this event is not registered");
  pthread_mutex_lock(event->lock);
  event->killed = true;
  pthread_cond_broadcast(&event->signal);
  while (event->waiting) pthread_cond_wait(&event->signal, event->lock);
  *place = NULL;
  pthread_mutex_unlock(event->lock);
  delist(&event->module);
  pthread_cond_destroy(&event->signal);
  free(event);
  return GC_ERR_SUCCESS;
}

static struct event *event_of(EVENT_HANDLE handle) {
  if (is_live(handle, EVENT)) return handle;
  fail(GC_ERR_INVALID_HANDLE, "this is no handle of a registered event");
  return NULL;
}

static struct timespec after_ms(uint64_t timeout_ms) {
  struct timespec when;
  clock_gettime(WAIT_CLOCK, &when);
  when.tv_sec += (time_t)(timeout_ms / 1000);
  when.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (when.tv_nsec >= 1000000000) {
    ++when.tv_sec;
    when.tv_nsec -= 1000000000;
  }
  return when;
}

static bool has_data(const struct event *event) {
  return event->stream ? stream_waiting(event->stream) > 0 : event->pending > 0;
}

GC_API EventGetData(EVENT_HANDLE handle, void *out, size_t *size, uint64_t timeout_ms) {
  struct event *event = event_of(handle);
  if (!event) return GC_ERR_INVALID_HANDLE;
  if (!size) return fail(GC_ERR_INVALID_PARAMETER, "no place for the size of an event");
  const bool for_ever = timeout_ms > 1000ULL * 3600 * 24 * 365;
  const struct timespec until = after_ms(for_ever ? 0 : timeout_ms);
  GC_ERROR error = GC_ERR_SUCCESS;
  pthread_mutex_lock(event->lock);
  ++event->waiting;
  int timed = 0;
  while (!event->killed && !has_data(event) && !(event->stream && stream_lost(event->stream)) &&
         timed != ETIMEDOUT)
    timed = for_ever ? pthread_cond_wait(&event->signal, event->lock)
                     : pthread_cond_timedwait(&event->signal, event->lock, &until);
  --event->waiting;
  if (event->killed) {
    error = fail(GC_ERR_ABORT, "waiting for an event was ended");
    event->killed = false;
    pthread_cond_broadcast(&event->signal);
  } else if (has_data(event)) {
    if (event->stream) {
      if (out && *size >= sizeof(EVENT_NEW_BUFFER_DATA)) {
        EVENT_NEW_BUFFER_DATA data = stream_pop(event->stream);
        memcpy(out, &data, sizeof data);
      } else {
        error = fail(GC_ERR_BUFFER_TOO_SMALL, "a new buffer takes more room");
      }
      *size = sizeof(EVENT_NEW_BUFFER_DATA);
    } else if (out && *size >= sizeof LOST) {
      memcpy(out, LOST, sizeof LOST);
      *size = sizeof LOST;
      --event->pending;
    } else {
      error = fail(GC_ERR_BUFFER_TOO_SMALL, "an event takes more room");
    }
  } else if (event->stream && stream_lost(event->stream)) {
    error = fail(GC_ERR_IO, "DEVICE_LOST: the camera has gone");
  } else {
    error = fail(GC_ERR_TIMEOUT, "no event within %llu ms", (unsigned long long)timeout_ms);
  }
  pthread_mutex_unlock(event->lock);
  return error;
}

GC_API EventGetDataInfo(EVENT_HANDLE handle, const void *data, size_t length, ENUM32 what,
                        INFO_DATATYPE *type, void *out, size_t *size) {
  struct event *event = event_of(handle);
  if (!event) return GC_ERR_INVALID_HANDLE;
  if (!data) return fail(GC_ERR_INVALID_PARAMETER, "no event to ask about");
  if (event->stream && what == EVENT_DATA_ID && length >= sizeof(void *))
    return give(type, out, size, INFO_DATATYPE_PTR, data, sizeof(void *));
  if (event->device && what == EVENT_DATA_ID) return give_text(type, out, size, data);
  return fail(GC_ERR_NOT_AVAILABLE, "this event does not tell this");
}

GC_API EventGetInfo(EVENT_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  struct event *event = event_of(handle);
  if (!event) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(event->lock);
  size_t queued = event->stream ? stream_waiting(event->stream) : event->pending;
  uint64_t fired = event->fired;
  pthread_mutex_unlock(event->lock);
  size_t most = event->stream ? sizeof(EVENT_NEW_BUFFER_DATA) : sizeof LOST;
  switch (what) {
    case EVENT_EVENT_TYPE: return give(type, out, size, INFO_DATATYPE_INT32, &event->type, sizeof event->type);
    case EVENT_NUM_IN_QUEUE: return give(type, out, size, INFO_DATATYPE_SIZET, &queued, sizeof queued);
    case EVENT_NUM_FIRED: return give(type, out, size, INFO_DATATYPE_UINT64, &fired, sizeof fired);
    case EVENT_SIZE_MAX:
    case EVENT_INFO_DATA_SIZE_MAX: return give(type, out, size, INFO_DATATYPE_SIZET, &most, sizeof most);
    default: return fail(GC_ERR_NOT_AVAILABLE, "an event does not tell this");
  }
}

GC_API EventFlush(EVENT_HANDLE handle) {
  struct event *event = event_of(handle);
  if (!event) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(event->lock);
  if (event->stream) stream_discard_output(event->stream);
  event->pending = 0;
  pthread_mutex_unlock(event->lock);
  return GC_ERR_SUCCESS;
}

GC_API EventKill(EVENT_HANDLE handle) {
  struct event *event = event_of(handle);
  if (!event) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(event->lock);
  event->killed = true;
  pthread_cond_broadcast(&event->signal);
  pthread_mutex_unlock(event->lock);
  return GC_ERR_SUCCESS;
}
