/* Starts, stops, opens and closes the producer over and over, as a consumer with a thread of its own
 * would. Built with the thread sanitizer: cycles PRODUCER STARTS CREATES START STOP EXPOSURE, where
 * the last three are addresses of the camera's registers. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gentl.h"

#define BUFFERS 4
#define NEEDED(result, name, ...)                                    \
  typedef result (*name##_type)(__VA_ARGS__);                        \
  static name##_type name;
NEEDED(GC_ERROR, GCInitLib, void)
NEEDED(GC_ERROR, GCCloseLib, void)
NEEDED(GC_ERROR, TLOpen, TL_HANDLE *)
NEEDED(GC_ERROR, TLClose, TL_HANDLE)
NEEDED(GC_ERROR, TLUpdateInterfaceList, TL_HANDLE, bool8_t *, uint64_t)
NEEDED(GC_ERROR, TLGetInterfaceID, TL_HANDLE, uint32_t, char *, size_t *)
NEEDED(GC_ERROR, TLOpenInterface, TL_HANDLE, const char *, IF_HANDLE *)
NEEDED(GC_ERROR, IFClose, IF_HANDLE)
NEEDED(GC_ERROR, IFUpdateDeviceList, IF_HANDLE, bool8_t *, uint64_t)
NEEDED(GC_ERROR, IFGetDeviceID, IF_HANDLE, uint32_t, char *, size_t *)
NEEDED(GC_ERROR, IFOpenDevice, IF_HANDLE, const char *, ENUM32, DEV_HANDLE *)
NEEDED(GC_ERROR, DevClose, DEV_HANDLE)
NEEDED(GC_ERROR, DevGetPort, DEV_HANDLE, PORT_HANDLE *)
NEEDED(GC_ERROR, DevOpenDataStream, DEV_HANDLE, const char *, DS_HANDLE *)
NEEDED(GC_ERROR, DSClose, DS_HANDLE)
NEEDED(GC_ERROR, DSAnnounceBuffer, DS_HANDLE, void *, size_t, void *, BUFFER_HANDLE *)
NEEDED(GC_ERROR, DSRevokeBuffer, DS_HANDLE, BUFFER_HANDLE, void **, void **)
NEEDED(GC_ERROR, DSQueueBuffer, DS_HANDLE, BUFFER_HANDLE)
NEEDED(GC_ERROR, DSFlushQueue, DS_HANDLE, ENUM32)
NEEDED(GC_ERROR, DSStartAcquisition, DS_HANDLE, ENUM32, uint64_t)
NEEDED(GC_ERROR, DSStopAcquisition, DS_HANDLE, ENUM32)
NEEDED(GC_ERROR, DSGetBufferInfo, DS_HANDLE, BUFFER_HANDLE, ENUM32, INFO_DATATYPE *, void *, size_t *)
NEEDED(GC_ERROR, GCRegisterEvent, EVENTSRC_HANDLE, ENUM32, EVENT_HANDLE *)
NEEDED(GC_ERROR, GCUnregisterEvent, EVENTSRC_HANDLE, ENUM32)
NEEDED(GC_ERROR, EventGetData, EVENT_HANDLE, void *, size_t *, uint64_t)
NEEDED(GC_ERROR, EventKill, EVENT_HANDLE)
NEEDED(GC_ERROR, GCWritePort, PORT_HANDLE, uint64_t, const void *, size_t *)

static void need(GC_ERROR error, const char *what) {
  if (!error) return;
  fprintf(stderr, "%s: %d\n", what, error);
  exit(1);
}
#define DO(call) need(call, #call)

static DS_HANDLE stream;
static EVENT_HANDLE event;
static long taken;

/* The consumer's own thread: takes frames and hands their buffers back until it is told to end. */
static void *consume(void *unused) {
  (void)unused;
  for (;;) {
    EVENT_NEW_BUFFER_DATA data;
    size_t size = sizeof data, width;
    GC_ERROR error = EventGetData(event, &data, &size, 1000);
    if (error == GC_ERR_ABORT) return NULL;
    if (error == GC_ERR_TIMEOUT) continue;
    need(error, "EventGetData");
    size = sizeof width;
    DO(DSGetBufferInfo(stream, data.BufferHandle, BUFFER_INFO_WIDTH, NULL, &width, &size));
    ++taken;
    DO(DSQueueBuffer(stream, data.BufferHandle));
  }
}

static void command(PORT_HANDLE port, uint64_t address) {
  int64_t one = 1;
  size_t size = sizeof one;
  DO(GCWritePort(port, address, &one, &size));
}

static void session(IF_HANDLE interface, const char *id, int starts, uint64_t start, uint64_t stop,
                    uint64_t exposure) {
  static unsigned char memory[BUFFERS][1 << 16];
  DEV_HANDLE device;
  PORT_HANDLE port;
  BUFFER_HANDLE buffers[BUFFERS];
  DO(IFOpenDevice(interface, id, DEVICE_ACCESS_EXCLUSIVE, &device));
  DO(DevGetPort(device, &port));
  DO(DevOpenDataStream(device, "Stream0", &stream));
  DO(GCRegisterEvent(stream, EVENT_NEW_BUFFER, &event));
  for (int i = 0; i < BUFFERS; ++i)
    DO(DSAnnounceBuffer(stream, memory[i], sizeof memory[i], NULL, &buffers[i]));
  double exposure_us = 100;
  size_t size = sizeof exposure_us;
  DO(GCWritePort(port, exposure, &exposure_us, &size));
  for (int round = 0; round < starts; ++round) {
    pthread_t consumer;
    for (int i = 0; i < BUFFERS; ++i) DO(DSQueueBuffer(stream, buffers[i]));
    DO(DSStartAcquisition(stream, 0, GENTL_INFINITE));
    command(port, start);
    pthread_create(&consumer, NULL, consume, NULL);
    struct timespec little = {0, 3000000};
    nanosleep(&little, NULL);
    command(port, stop);
    DO(EventKill(event));
    pthread_join(consumer, NULL);
    DO(DSStopAcquisition(stream, 0));
    DO(DSFlushQueue(stream, ACQ_QUEUE_ALL_DISCARD));
  }
  for (int i = 0; i < BUFFERS; ++i) DO(DSRevokeBuffer(stream, buffers[i], NULL, NULL));
  DO(GCUnregisterEvent(stream, EVENT_NEW_BUFFER));
  DO(DSClose(stream));
  DO(DevClose(device));
}

int main(int count, char **words) {
  if (count != 7) return 2;
  void *library = dlopen(words[1], RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
#define FIND(name) *(void **)&name = dlsym(library, #name)
  FIND(GCInitLib), FIND(GCCloseLib), FIND(TLOpen), FIND(TLClose), FIND(TLUpdateInterfaceList);
  FIND(TLGetInterfaceID), FIND(TLOpenInterface), FIND(IFClose), FIND(IFUpdateDeviceList);
  FIND(IFGetDeviceID), FIND(IFOpenDevice), FIND(DevClose), FIND(DevGetPort);
  FIND(DevOpenDataStream), FIND(DSClose), FIND(DSAnnounceBuffer), FIND(DSRevokeBuffer);
  FIND(DSQueueBuffer), FIND(DSFlushQueue), FIND(DSStartAcquisition), FIND(DSStopAcquisition);
  FIND(DSGetBufferInfo), FIND(GCRegisterEvent), FIND(GCUnregisterEvent), FIND(EventGetData);
  FIND(EventKill), FIND(GCWritePort);
  const int starts = atoi(words[2]), creates = atoi(words[3]);
  const uint64_t start = strtoull(words[4], NULL, 0), stop = strtoull(words[5], NULL, 0);
  const uint64_t exposure = strtoull(words[6], NULL, 0);
  TL_HANDLE system;
  IF_HANDLE interface;
  char id[64];
  size_t size = sizeof id;
  DO(GCInitLib());
  DO(TLOpen(&system));
  DO(TLUpdateInterfaceList(system, NULL, 100));
  DO(TLGetInterfaceID(system, 0, id, &size));
  DO(TLOpenInterface(system, id, &interface));
  DO(IFUpdateDeviceList(interface, NULL, 100));
  size = sizeof id;
  DO(IFGetDeviceID(interface, 0, id, &size));
  session(interface, id, starts, start, stop, exposure);
  for (int i = 0; i < creates; ++i) session(interface, id, 1, start, stop, exposure);
  DO(IFClose(interface));
  DO(TLClose(system));
  DO(GCCloseLib());
  printf("%ld frames\n", taken);
  return 0;
}
