/* The data stream: a thread takes frames from the world's shared memory into announced buffers. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stream.h"

pthread_mutex_t *stream_lock(struct stream *stream) { return &stream->lock; }
struct event **stream_event(struct stream *stream) { return &stream->event; }
size_t stream_waiting(struct stream *stream) { return stream->output.length; }
bool stream_lost(struct stream *stream) { return stream->lost; }

void push(struct queue *queue, struct buffer *buffer, enum state state) {
  buffer->behind = NULL;
  buffer->state = state;
  if (queue->tail) queue->tail->behind = buffer;
  else queue->head = buffer;
  queue->tail = buffer;
  ++queue->length;
}

struct buffer *pop(struct queue *queue, enum state state) {
  struct buffer *buffer = queue->head;
  if (!buffer) return NULL;
  queue->head = buffer->behind;
  if (!queue->head) queue->tail = NULL;
  --queue->length;
  buffer->state = state;
  return buffer;
}

EVENT_NEW_BUFFER_DATA stream_pop(struct stream *stream) {
  EVENT_NEW_BUFFER_DATA data = {NULL, NULL};
  struct buffer *buffer = pop(&stream->output, DELIVERED);
  if (buffer) {
    data.BufferHandle = buffer;
    data.pUserPointer = buffer->user;
  }
  return data;
}

void stream_discard_output(struct stream *stream) {
  while (pop(&stream->output, IDLE)) {}
}

/* the thread ----------------------------------------------------------------------------------- */
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Image first, chunks behind it; what does not fit is cut off. Called without the lock. */
static void fill(struct stream *stream, struct buffer *buffer, const struct frame_header *frame,
                 const unsigned char *chunks) {
  size_t image = least((size_t)frame->filled, buffer->size);
  memcpy(buffer->memory, stream->shared + frame->offset, image);
  buffer->frame = *frame;
  buffer->frame.chunks = 0;
  buffer->filled = image;
  size_t at = (size_t)frame->size;
  for (uint32_t i = 0; i < frame->chunks && i < MAX_CHUNKS; ++i) {
    struct chunk_header chunk;
    memcpy(&chunk, chunks, sizeof chunk);
    chunks += sizeof chunk;
    if (at + chunk.length > buffer->size) break;
    memcpy(buffer->memory + at, chunks, chunk.length);
    buffer->chunks[i].ChunkID = chunk.id;
    buffer->chunks[i].ChunkOffset = (ptrdiff_t)at;
    buffer->chunks[i].ChunkLength = chunk.length;
    buffer->frame.chunks = i + 1;
    chunks += chunk.length;
    at += chunk.length;
    buffer->filled = at;
  }
  if (image < frame->size || buffer->frame.chunks < frame->chunks) buffer->frame.flags |= INCOMPLETE;
}

/* The world may use the slot again. */
static void release(struct stream *stream, uint32_t slot) {
  if (slot == UINT32_MAX) return; /* a prepared picture, which stays */
  atomic_store((_Atomic uint32_t *)(void *)(stream->shared + 4 * (size_t)slot), 0);
}

static bool take_frame(struct stream *stream) {
  struct frame_header frame;
  unsigned char chunks[1024];
  if (!link_read(stream->fd, &frame, sizeof frame) || frame.chunk_bytes > sizeof chunks ||
      !link_read(stream->fd, chunks, frame.chunk_bytes))
    return false;
  if (frame.offset > stream->shared_size || frame.filled > stream->shared_size - frame.offset)
    return false;
  pthread_mutex_lock(&stream->lock);
  struct buffer *buffer = NULL;
  while (frame.flags & PATIENT && stream->grabbing && !stream->closing && !stream->input.length)
    pthread_cond_wait(&stream->idle, &stream->lock);
  /* The first frames may overtake the answer to the start, which tells the new epoch. */
  const bool old = (int32_t)(frame.epoch - atomic_load(&stream->device->epoch)) < 0;
  if (!old && stream->grabbing && stream->started < stream->to_acquire) {
    buffer = pop(&stream->input, FILLING);
    if (buffer) ++stream->started;
    else ++stream->underruns;
  }
  stream->filling = buffer != NULL;
  pthread_mutex_unlock(&stream->lock);
  if (buffer) fill(stream, buffer, &frame, chunks);
  release(stream, frame.slot);
  if (!buffer) return true;
  pthread_mutex_lock(&stream->lock);
  stream->filling = false;
  buffer->fresh = true;
  push(&stream->output, buffer, FILLED);
  ++stream->delivered;
  if (stream->event) {
    ++stream->event->fired;
    pthread_cond_broadcast(&stream->event->signal);
  }
  pthread_cond_broadcast(&stream->idle);
  pthread_mutex_unlock(&stream->lock);
  return true;
}

static void *run(void *argument) {
  struct stream *stream = argument;
  while (take_frame(stream)) {}
  pthread_mutex_lock(&stream->lock);
  stream->lost = true;
  if (stream->event) pthread_cond_broadcast(&stream->event->signal);
  pthread_mutex_unlock(&stream->lock);
  device_lost(stream->device);
  return NULL;
}

static void wait_until_idle(struct stream *stream) {
  while (stream->filling) pthread_cond_wait(&stream->idle, &stream->lock);
}

/* opening and closing -------------------------------------------------------------------------- */
GC_API DevGetDataStreamID(DEV_HANDLE handle, uint32_t index, char *id, size_t *size) {
  if (!is_live(handle, DEVICE)) return fail(GC_ERR_INVALID_HANDLE, "no handle of a camera");
  if (index) return fail(GC_ERR_INVALID_INDEX, "there is one data stream");
  return give_text(NULL, id, size, "Stream0");
}

static GC_ERROR connect_stream(struct stream *stream) {
  const char *id = stream->device->info.id;
  int memory = -1;
  struct stat facts;
  stream->fd = link_connect();
  GC_ERROR error = link_ask(stream->fd, OP_STREAM, 0, id, strlen(id), NULL, NULL, &memory, NULL);
  if (!error && (memory < 0 || fstat(memory, &facts)))
    error = fail(GC_ERR_IO, "the virtual rig gave no memory for pictures");
  if (!error) {
    stream->shared_size = (size_t)facts.st_size;
    void *mapped = mmap(NULL, stream->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (mapped == MAP_FAILED) error = fail(GC_ERR_OUT_OF_MEMORY, "no room for shared pictures");
    else stream->shared = mapped;
  }
  if (memory >= 0) close(memory);
  if (error && stream->fd >= 0) close(stream->fd);
  return error;
}

GC_API DevOpenDataStream(DEV_HANDLE handle, const char *id, DS_HANDLE *opened) {
  if (!is_live(handle, DEVICE)) return fail(GC_ERR_INVALID_HANDLE, "no handle of a camera");
  if (!id || strcmp(id, "Stream0")) return fail(GC_ERR_INVALID_ID, "there is only Stream0");
  if (!opened) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  struct device *device = handle;
  if (device->stream) return fail(GC_ERR_RESOURCE_IN_USE, "the data stream is open");
  struct stream *stream = calloc(1, sizeof *stream);
  if (!stream) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a data stream");
  stream->device = device;
  GC_ERROR error = connect_stream(stream);
  if (error) {
    free(stream);
    return error;
  }
  pthread_mutex_init(&stream->lock, NULL);
  pthread_cond_init(&stream->idle, NULL);
  if (pthread_create(&stream->thread, NULL, run, stream)) {
    munmap(stream->shared, stream->shared_size);
    close(stream->fd);
    free(stream);
    return fail(GC_ERR_ERROR, "no thread for a data stream");
  }
  device->stream = stream;
  enlist(&stream->module, STREAM);
  *opened = stream;
  return GC_ERR_SUCCESS;
}

struct stream *stream_of(DS_HANDLE handle) {
  if (is_live(handle, STREAM)) return handle;
  fail(GC_ERR_INVALID_HANDLE, "this is no handle of an open data stream");
  return NULL;
}

void stream_close(struct stream *stream) {
  pthread_mutex_lock(&stream->lock);
  stream->closing = true;
  pthread_cond_broadcast(&stream->idle);
  pthread_mutex_unlock(&stream->lock);
  shutdown(stream->fd, SHUT_RDWR); /* ends the thread */
  pthread_join(stream->thread, NULL);
  close(stream->fd);
  stream->device->stream = NULL;
  delist(&stream->module);
  munmap(stream->shared, stream->shared_size);
  while (stream->buffers) {
    struct buffer *buffer = stream->buffers;
    stream->buffers = buffer->next;
    delist(&buffer->module);
    if (buffer->own) free(buffer->memory);
    free(buffer);
  }
  pthread_cond_destroy(&stream->idle);
  pthread_mutex_destroy(&stream->lock);
  free(stream);
}

GC_API DSClose(DS_HANDLE handle) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  if (stream->event) return fail(GC_ERR_BUSY, "an event of the data stream is still registered");
  stream_close(stream);
  return GC_ERR_SUCCESS;
}

GC_API DSGetParentDev(DS_HANDLE handle, DEV_HANDLE *device) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  if (!device) return fail(GC_ERR_INVALID_PARAMETER, "no place for a handle");
  *device = stream->device;
  return GC_ERR_SUCCESS;
}

/* acquisition ---------------------------------------------------------------------------------- */
GC_API DSStartAcquisition(DS_HANDLE handle, ENUM32 flags, uint64_t count) {
  struct stream *stream = stream_of(handle);
  (void)flags;
  if (!stream) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(&stream->lock);
  bool busy = stream->grabbing;
  if (!busy) {
    stream->grabbing = true;
    stream->to_acquire = count ? count : GENTL_INFINITE;
    stream->delivered = stream->underruns = stream->started = 0;
  }
  pthread_mutex_unlock(&stream->lock);
  return busy ? fail(GC_ERR_RESOURCE_IN_USE, "the data stream runs already") : GC_ERR_SUCCESS;
}

GC_API DSStopAcquisition(DS_HANDLE handle, ENUM32 flags) {
  struct stream *stream = stream_of(handle);
  (void)flags;
  if (!stream) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(&stream->lock);
  bool was = stream->grabbing;
  stream->grabbing = false;
  pthread_cond_broadcast(&stream->idle);
  wait_until_idle(stream);
  pthread_mutex_unlock(&stream->lock);
  return was ? GC_ERR_SUCCESS : fail(GC_ERR_RESOURCE_IN_USE, "the data stream does not run");
}

GC_API DSFlushQueue(DS_HANDLE handle, ENUM32 operation) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  GC_ERROR error = GC_ERR_SUCCESS;
  pthread_mutex_lock(&stream->lock);
  wait_until_idle(stream);
  struct buffer *buffer;
  switch (operation) {
    case ACQ_QUEUE_INPUT_TO_OUTPUT:
      while ((buffer = pop(&stream->input, IDLE))) push(&stream->output, buffer, FILLED);
      break;
    case ACQ_QUEUE_OUTPUT_DISCARD: stream_discard_output(stream); break;
    case ACQ_QUEUE_ALL_TO_INPUT:
    case ACQ_QUEUE_UNQUEUED_TO_INPUT:
      if (operation == ACQ_QUEUE_ALL_TO_INPUT) stream_discard_output(stream);
      for (buffer = stream->buffers; buffer; buffer = buffer->next)
        if (buffer->state == IDLE || (operation == ACQ_QUEUE_ALL_TO_INPUT && buffer->state != QUEUED))
          push(&stream->input, buffer, QUEUED);
      break;
    case ACQ_QUEUE_ALL_DISCARD:
      while (pop(&stream->input, IDLE)) {}
      stream_discard_output(stream);
      break;
    default: error = fail(GC_ERR_INVALID_PARAMETER, "no such operation on queues");
  }
  pthread_mutex_unlock(&stream->lock);
  return error;
}

GC_API DSGetInfo(DS_HANDLE handle, ENUM32 what, INFO_DATATYPE *type, void *out, size_t *size) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  pthread_mutex_lock(&stream->lock);
  uint64_t number = 0;
  size_t count = 0;
  bool8_t flag = 0;
  GC_ERROR error;
  switch (what) {
    case STREAM_INFO_NUM_DELIVERED: number = stream->delivered; break;
    case STREAM_INFO_NUM_UNDERRUN: number = stream->underruns; break;
    case STREAM_INFO_NUM_STARTED: number = stream->started; break;
    case STREAM_INFO_NUM_ANNOUNCED: count = (size_t)stream->announced; break;
    case STREAM_INFO_NUM_QUEUED: count = stream->input.length; break;
    case STREAM_INFO_NUM_AWAIT_DELIVERY: count = stream->output.length; break;
    case STREAM_INFO_NUM_CHUNKS_MAX: count = MAX_CHUNKS; break;
    case STREAM_INFO_BUF_ANNOUNCE_MIN: count = 1; break;
    case STREAM_INFO_BUF_ALIGNMENT: count = 1; break;
    case STREAM_INFO_IS_GRABBING: flag = stream->grabbing; break;
    default: break;
  }
  pthread_mutex_unlock(&stream->lock);
  switch (what) {
    case STREAM_INFO_ID: error = give_text(type, out, size, "Stream0"); break;
    case STREAM_INFO_TLTYPE: error = give_text(type, out, size, TLTYPE); break;
    case STREAM_INFO_NUM_DELIVERED:
    case STREAM_INFO_NUM_UNDERRUN:
    case STREAM_INFO_NUM_STARTED:
      error = give(type, out, size, INFO_DATATYPE_UINT64, &number, sizeof number);
      break;
    case STREAM_INFO_NUM_ANNOUNCED:
    case STREAM_INFO_NUM_QUEUED:
    case STREAM_INFO_NUM_AWAIT_DELIVERY:
    case STREAM_INFO_NUM_CHUNKS_MAX:
    case STREAM_INFO_BUF_ANNOUNCE_MIN:
    case STREAM_INFO_BUF_ALIGNMENT:
      error = give(type, out, size, INFO_DATATYPE_SIZET, &count, sizeof count);
      break;
    case STREAM_INFO_IS_GRABBING:
    case STREAM_INFO_DEFINES_PAYLOADSIZE: /* the camera's PayloadSize tells */
      error = give(type, out, size, INFO_DATATYPE_BOOL8, &flag, sizeof flag);
      break;
    default: error = fail(GC_ERR_NOT_AVAILABLE, "the virtual rig does not tell this");
  }
  return error;
}
