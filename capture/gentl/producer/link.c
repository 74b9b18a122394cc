/* Finding the world, and talking to it. */
#define _GNU_SOURCE 1 /* dladdr */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig_virtual.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; its sockets are told so when they are made */
#endif

static _Thread_local GC_ERROR last_code;
static _Thread_local char last_text[256];

GC_ERROR fail(GC_ERROR code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_text, sizeof last_text, format, arguments);
  va_end(arguments);
  last_code = code;
  return code;
}

GC_API GCGetLastError(GC_ERROR *code, char *text, size_t *size) {
  if (!size || !code) return GC_ERR_INVALID_PARAMETER;
  *code = last_code;
  size_t needed = strlen(last_text) + 1, room = *size;
  *size = needed;
  if (!text) return GC_ERR_SUCCESS;
  if (room < needed) return GC_ERR_BUFFER_TOO_SMALL;
  memcpy(text, last_text, needed);
  return GC_ERR_SUCCESS;
}

/* The path of the world's socket: RIG_VIRTUAL_SOCKET, or else what the file rig-virtual.socket in
 * the folder of this very library says. So each copy of the library belongs to one world. */
static bool socket_path(char *path, size_t size) {
  const char *named = getenv("RIG_VIRTUAL_SOCKET");
  if (named && *named) return (size_t)snprintf(path, size, "%s", named) < size;
  Dl_info info;
  char file[PATH_MAX];
  if (!dladdr((void *)&socket_path, &info) || !info.dli_fname) return false;
  const char *slash = strrchr(info.dli_fname, '/');
  int folder = slash ? (int)(slash - info.dli_fname) : 1;
  if (snprintf(file, sizeof file, "%.*s/rig-virtual.socket", folder, slash ? info.dli_fname : ".") >=
      (int)sizeof file)
    return false;
  FILE *in = fopen(file, "r");
  if (!in) return false;
  bool found = fgets(path, (int)size, in) != NULL;
  fclose(in);
  if (found) path[strcspn(path, "\r\n")] = 0;
  return found && *path;
}

int link_connect(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!socket_path(address.sun_path, sizeof address.sun_path)) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return -1;
#ifdef SO_NOSIGPIPE
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#endif
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
    close(fd);
    return -1;
  }
  return fd;
}

static bool write_all(int fd, const void *data, size_t length) {
  const char *at = data;
  while (length) {
    ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    length -= (size_t)sent;
  }
  return true;
}

bool link_read(int fd, void *data, size_t length) {
  char *at = data;
  while (length) {
    ssize_t got = recv(fd, at, length, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    length -= (size_t)got;
  }
  return true;
}

/* The reply's head, and the file descriptor that may come with it. */
static bool read_head(int fd, struct reply *head, int *passed) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {.iov_base = head, .iov_len = sizeof *head};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  ssize_t got;
  do got = recvmsg(fd, &message, 0);
  while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  if (rights && rights->cmsg_type == SCM_RIGHTS) {
    int came;
    memcpy(&came, CMSG_DATA(rights), sizeof came);
    if (passed) *passed = came;
    else close(came);
  }
  return link_read(fd, (char *)head + got, sizeof *head - (size_t)got);
}

GC_ERROR link_ask(int fd, uint32_t op, uint64_t address, const void *data, size_t length,
                  char **answer, size_t *answer_length, int *passed_fd, _Atomic uint32_t *epoch) {
  struct request request = {.length = (uint32_t)length, .op = op, .address = address};
  struct reply reply;
  if (fd < 0 || !write_all(fd, &request, sizeof request) || (length && !write_all(fd, data, length)) ||
      !read_head(fd, &reply, passed_fd))
    return fail(GC_ERR_IO, "DEVICE_LOST: the virtual rig does not answer any more");
  if (epoch) atomic_store(epoch, reply.epoch);
  char *bytes = malloc((size_t)reply.length + 1);
  if (!bytes) return fail(GC_ERR_OUT_OF_MEMORY, "no memory for an answer of the virtual rig");
  if (!link_read(fd, bytes, reply.length)) {
    free(bytes);
    return fail(GC_ERR_IO, "DEVICE_LOST: the virtual rig broke off its answer");
  }
  bytes[reply.length] = 0;
  if (reply.status != GC_ERR_SUCCESS) fail(reply.status, "%s", bytes);
  if (answer && reply.status == GC_ERR_SUCCESS) {
    *answer = bytes;
    if (answer_length) *answer_length = reply.length;
  } else {
    free(bytes);
  }
  return reply.status;
}
