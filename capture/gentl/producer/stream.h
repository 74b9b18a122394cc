/* What stream.c and buffers.c share: a data stream, its buffers, its two queues. */
#ifndef RIG_VIRTUAL_STREAM_H
#define RIG_VIRTUAL_STREAM_H
#include "rig_virtual.h"

enum state { IDLE, QUEUED, FILLING, FILLED, DELIVERED };

struct buffer {
  struct module module;
  struct buffer *next; /* of the stream's buffers */
  struct buffer *behind; /* in a queue */
  unsigned char *memory;
  size_t size;
  void *user;
  bool own, fresh;
  enum state state;
  struct frame_header frame;
  size_t filled;
  SINGLE_CHUNK_DATA chunks[MAX_CHUNKS];
};

struct queue { struct buffer *head, *tail; size_t length; };

struct stream {
  struct module module;
  struct device *device;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t idle; /* no buffer is being filled, or one was queued, or an end is wanted */
  int fd;
  unsigned char *shared;
  size_t shared_size;
  struct buffer *buffers;
  struct queue input, output;
  struct event *event;
  bool grabbing, lost, closing;
  bool filling;
  uint64_t to_acquire, delivered, underruns, started, announced;
};

/* Both under the stream's lock. */
void push(struct queue *queue, struct buffer *buffer, enum state state);
struct buffer *pop(struct queue *queue, enum state state); /* NULL if it is empty */
/* The stream behind a handle, or NULL. */
struct stream *stream_of(DS_HANDLE handle);

#endif
