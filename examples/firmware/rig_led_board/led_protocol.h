// The rig's LED protocol (docs/led-protocol.md): portable C++11 without heap, streams or printf.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace rig {

#ifndef RIG_MAX_STEPS
#define RIG_MAX_STEPS 128  // 12 bytes of RAM each
#endif

const uint16_t kMaxLine = 200;         // longest line either side sends, without its end
const uint32_t kWatchdogUs = 500000;   // host silence after which the lights go off

const uint64_t kNever = ~(uint64_t)0;

// What the protocol needs of the board around it.
class Hardware {
 public:
  virtual void light(uint16_t led, uint16_t permille) = 0;  // that LED (from 1), alone
  virtual void dark() = 0;                                  // all LEDs off
  virtual void trigger() = 0;                               // a pulse on the line to the camera
  virtual void send(const char *text, size_t length) = 0;   // to the host
  virtual uint64_t clock_us() = 0;                          // µs since boot, never wrapping
  virtual void dark_step() { dark(); }                       // a step of a sequence without light
  virtual bool temperature(int16_t &tenths_c) { (void)tenths_c; return false; }
};

struct Model {
  const char *name, *firmware, *serial;
  uint16_t led_count;
  uint32_t max_on_ms;  // hard limit of an LED's on-time
};

class LedProtocol {
 public:
  LedProtocol(Hardware &hardware, const Model &model) : hw_(hardware), model_(model) {}
  void boot();                          // lights off, banner
  void receive(const char *data, size_t length);
  void edge(uint64_t at_us);            // rising edge of the camera's exposure-active line
  void poll();                          // call as often as possible
  void closed();                        // the host has closed the port
  // For boards that sleep until a timer fires instead of polling: the next instant at which poll()
  // has something to do, and at which a sequence has its next edge; kNever if there is none.
  uint64_t deadline_us() const;
  uint64_t stage_us() const { return stage_ == kNone ? kNever : due_us_; }
  bool awaits_edges() const { return armed_ == kCamera; }

 private:
  struct Step { uint32_t settle_us, exposure_us; uint16_t led, permille; };
  enum Stage { kNone, kOn, kTrigger, kOff };
  enum Armed { kDisarmed, kBoard, kCamera };

  void line(bool ended_by_lf);
  int command(char *words[], int count, uint64_t now);  // 0 or the code of an error
  int on(char *words[], int count, uint64_t now);
  int store(char *words[], int count);
  int arm(char *words[], int count);
  void begin_step(uint64_t at);
  void end_step(uint64_t at);
  void light(uint16_t led, uint16_t permille, uint64_t at);
  void darken();
  void disarm();
  void stop(const char *reason);
  // text out
  void begin();
  void put(const char *text);
  void put(uint64_t number);
  void finish(bool crc);
  void event(const char *word);

  Hardware &hw_;
  const Model &model_;
  bool crc_ = false, overlong_ = false, running_ = false, fault_ = false;
  char in_[kMaxLine + 1], out_[kMaxLine + 8];
  uint16_t in_length_ = 0, out_length_ = 0;
  uint64_t heard_us_ = 0, lit_since_us_ = 0, due_us_ = 0, on_us_ = 0;
  uint32_t period_us_ = 0, watchdog_trips_ = 0;
  uint16_t lit_ = 0, stored_ = 0, expected_ = 0;
  int32_t index_ = -1;
  Stage stage_ = kNone;
  Armed armed_ = kDisarmed;
  Step steps_[RIG_MAX_STEPS];
};

uint16_t crc16(const char *data, size_t length);  // 0x1021, start 0xFFFF, not reflected

}  // namespace rig
