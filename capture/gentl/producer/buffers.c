/* The buffers of a data stream: announced, queued, asked about, revoked. */
#include <stdlib.h>
#include <string.h>

#include "stream.h"

static GC_ERROR announce(DS_HANDLE handle, void *memory, size_t size, void *user, bool own,
                         BUFFER_HANDLE *announced) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = calloc(1, sizeof *buffer);
  if (!buffer || !memory) {
    free(buffer);
    return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a buffer");
  }
  buffer->memory = memory;
  buffer->size = size;
  buffer->user = user;
  buffer->own = own;
  pthread_mutex_lock(&stream->lock);
  buffer->next = stream->buffers;
  stream->buffers = buffer;
  ++stream->announced;
  pthread_mutex_unlock(&stream->lock);
  enlist(&buffer->module, BUFFER);
  *announced = buffer;
  return GC_ERR_SUCCESS;
}

GC_API DSAnnounceBuffer(DS_HANDLE handle, void *memory, size_t size, void *user,
                        BUFFER_HANDLE *announced) {
  if (!memory || !size || !announced) return fail(GC_ERR_INVALID_PARAMETER, "no buffer");
  return announce(handle, memory, size, user, false, announced);
}

GC_API DSAllocAndAnnounceBuffer(DS_HANDLE handle, size_t size, void *user, BUFFER_HANDLE *announced) {
  if (!size || !announced) return fail(GC_ERR_INVALID_PARAMETER, "no buffer");
  void *memory = malloc(size);
  GC_ERROR error = announce(handle, memory, size, user, true, announced);
  if (error) free(memory);
  return error;
}

static struct buffer *buffer_of(BUFFER_HANDLE handle) {
  if (is_live(handle, BUFFER)) return handle;
  fail(GC_ERR_INVALID_BUFFER, "this is no handle of an announced buffer");
  return NULL;
}

GC_API DSGetBufferID(DS_HANDLE handle, uint32_t index, BUFFER_HANDLE *found) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = stream->buffers;
  while (buffer && index--) buffer = buffer->next;
  if (!buffer || !found) return fail(GC_ERR_INVALID_INDEX, "no buffer of this index");
  *found = buffer;
  return GC_ERR_SUCCESS;
}

GC_API DSQueueBuffer(DS_HANDLE handle, BUFFER_HANDLE which) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = buffer_of(which);
  if (!buffer) return GC_ERR_INVALID_BUFFER;
  pthread_mutex_lock(&stream->lock);
  bool free_one = buffer->state == IDLE || buffer->state == DELIVERED;
  if (free_one) {
    buffer->fresh = false;
    push(&stream->input, buffer, QUEUED);
    pthread_cond_broadcast(&stream->idle);
  }
  pthread_mutex_unlock(&stream->lock);
  return free_one ? GC_ERR_SUCCESS : fail(GC_ERR_RESOURCE_IN_USE, "the buffer is queued");
}

GC_API DSRevokeBuffer(DS_HANDLE handle, BUFFER_HANDLE which, void **memory, void **user) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = buffer_of(which);
  if (!buffer) return GC_ERR_INVALID_BUFFER;
  pthread_mutex_lock(&stream->lock);
  bool busy = buffer->state == QUEUED || buffer->state == FILLING || buffer->state == FILLED;
  if (!busy) {
    struct buffer **at = &stream->buffers;
    while (*at && *at != buffer) at = &(*at)->next;
    if (*at) *at = buffer->next;
    --stream->announced;
  }
  pthread_mutex_unlock(&stream->lock);
  if (busy) return fail(GC_ERR_BUSY, "the buffer is in a queue");
  delist(&buffer->module);
  if (memory) *memory = buffer->own ? NULL : buffer->memory;
  if (user) *user = buffer->user;
  if (buffer->own) free(buffer->memory);
  free(buffer);
  return GC_ERR_SUCCESS;
}

GC_API DSGetBufferInfo(DS_HANDLE handle, BUFFER_HANDLE which, ENUM32 what, INFO_DATATYPE *type,
                       void *out, size_t *size) {
  struct stream *stream = stream_of(handle);
  if (!stream) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = buffer_of(which);
  if (!buffer) return GC_ERR_INVALID_BUFFER;
  pthread_mutex_lock(&stream->lock);
  const struct frame_header frame = buffer->frame;
  const enum state state = buffer->state;
  const size_t filled = buffer->filled;
  const bool fresh = buffer->fresh;
  pthread_mutex_unlock(&stream->lock);
#define SIZET(value) \
  (count = (size_t)(value), give(type, out, size, INFO_DATATYPE_SIZET, &count, sizeof count))
#define U64(value) \
  (number = (value), give(type, out, size, INFO_DATATYPE_UINT64, &number, sizeof number))
#define FLAG(value) \
  (flag = (value), give(type, out, size, INFO_DATATYPE_BOOL8, &flag, sizeof flag))
#define I32(value) \
  (integer = (value), give(type, out, size, INFO_DATATYPE_INT32, &integer, sizeof integer))
  size_t count;
  uint64_t number;
  bool8_t flag;
  int32_t integer;
  switch (what) {
    case BUFFER_INFO_BASE: return give(type, out, size, INFO_DATATYPE_PTR, &buffer->memory, sizeof(void *));
    case BUFFER_INFO_USER_PTR: return give(type, out, size, INFO_DATATYPE_PTR, &buffer->user, sizeof(void *));
    case BUFFER_INFO_SIZE: return SIZET(buffer->size);
    case BUFFER_INFO_TIMESTAMP:
    case BUFFER_INFO_TIMESTAMP_NS: return U64(frame.timestamp_ns);
    case BUFFER_INFO_NEW_DATA: return FLAG(fresh);
    case BUFFER_INFO_IS_QUEUED: return FLAG(state == QUEUED || state == FILLED);
    case BUFFER_INFO_IS_ACQUIRING: return FLAG(state == FILLING);
    case BUFFER_INFO_IS_INCOMPLETE: return FLAG((frame.flags & INCOMPLETE) != 0);
    case BUFFER_INFO_TLTYPE: return give_text(type, out, size, TLTYPE);
    case BUFFER_INFO_SIZE_FILLED:
    case BUFFER_INFO_DATA_SIZE: return SIZET(filled);
    case BUFFER_INFO_WIDTH: return SIZET(frame.width);
    case BUFFER_INFO_HEIGHT:
    case BUFFER_INFO_DELIVERED_IMAGEHEIGHT: return SIZET(frame.height);
    case BUFFER_INFO_XOFFSET: return SIZET(frame.x);
    case BUFFER_INFO_YOFFSET: return SIZET(frame.y);
    case BUFFER_INFO_XPADDING:
    case BUFFER_INFO_YPADDING:
    case BUFFER_INFO_IMAGEOFFSET: return SIZET(0);
    case BUFFER_INFO_FRAMEID: return U64(frame.frame_id);
    case BUFFER_INFO_IMAGEPRESENT: return FLAG(frame.size > 0);
    case BUFFER_INFO_PAYLOADTYPE:
      return give(type, out, size, INFO_DATATYPE_SIZET,
                  (count = frame.chunks ? PAYLOAD_TYPE_CHUNK_DATA : PAYLOAD_TYPE_IMAGE, &count),
                  sizeof count);
    case BUFFER_INFO_PIXELFORMAT: return U64(frame.pixel_format);
    case BUFFER_INFO_PIXELFORMAT_NAMESPACE: return U64(PIXELFORMAT_NAMESPACE_PFNC_32BIT);
    case BUFFER_INFO_PIXEL_ENDIANNESS: return I32(PIXELENDIANNESS_LITTLE);
    case BUFFER_INFO_DELIVERED_CHUNKPAYLOADSIZE:
      return SIZET(frame.chunks ? filled - (size_t)frame.size : 0);
    case BUFFER_INFO_CHUNKLAYOUTID: return U64(frame.chunks);
    case BUFFER_INFO_DATA_LARGER_THAN_BUFFER: return FLAG(frame.size > buffer->size);
    case BUFFER_INFO_CONTAINS_CHUNKDATA: return FLAG(frame.chunks > 0);
    default: return fail(GC_ERR_NOT_AVAILABLE, "the virtual rig does not tell this");
  }
}

GC_API DSGetBufferChunkData(DS_HANDLE handle, BUFFER_HANDLE which, SINGLE_CHUNK_DATA *chunks,
                            size_t *count) {
  if (!stream_of(handle)) return GC_ERR_INVALID_HANDLE;
  struct buffer *buffer = buffer_of(which);
  if (!buffer) return GC_ERR_INVALID_BUFFER;
  if (!count) return fail(GC_ERR_INVALID_PARAMETER, "no place for the number of chunks");
  size_t room = *count;
  *count = buffer->frame.chunks;
  if (!chunks) return GC_ERR_SUCCESS;
  if (room < *count) return fail(GC_ERR_BUFFER_TOO_SMALL, "there are %zu chunks", *count);
  memcpy(chunks, buffer->chunks, *count * sizeof *chunks);
  return GC_ERR_SUCCESS;
}
