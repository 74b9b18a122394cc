#include "led_protocol.h"

#include <string.h>

namespace rig {

enum { kUnknown = 1, kSyntax, kCrc, kRange, kState, kTooLong, kFault };

static const char *const kErrors[] = {"",      "unknown command", "syntax",   "crc",
                                      "range", "state",           "too long", "fault: send OFF"};

uint16_t crc16(const char *data, size_t length) {
  uint16_t crc = 0xFFFF;
  for (size_t i = 0; i < length; ++i) {
    crc ^= (uint16_t)((uint8_t)data[i] << 8);
    for (int bit = 0; bit < 8; ++bit)
      crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
  }
  return crc;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void hex4(uint16_t value, char *out) {
  for (int i = 0; i < 4; ++i) out[i] = "0123456789ABCDEF"[(value >> (12 - 4 * i)) & 15];
}

// 0, kSyntax or kRange. Nothing in the protocol that a host says is above 2^32 - 1.
static int number(const char *text, uint32_t &value) {
  size_t length = strlen(text);
  if (length == 0 || length > 16) return kSyntax;
  uint64_t sum = 0;
  for (const char *c = text; *c; ++c) {
    if (*c < '0' || *c > '9') return kSyntax;
    sum = sum * 10 + (uint64_t)(*c - '0');
  }
  if (sum > 0xFFFFFFFFu) return kRange;
  value = (uint32_t)sum;
  return 0;
}

// text out ----------------------------------------------------------------------------------------
void LedProtocol::begin() { out_length_ = 0; }

void LedProtocol::put(const char *text) {
  while (*text && out_length_ < kMaxLine - 5) out_[out_length_++] = *text++;
}

void LedProtocol::put(uint64_t value) {
  char digits[21];
  int i = 20;
  digits[i] = 0;
  do digits[--i] = (char)('0' + value % 10);
  while (value /= 10);
  put(digits + i);
}

void LedProtocol::finish(bool crc) {
  if (crc) {
    uint16_t sum = crc16(out_, out_length_);
    out_[out_length_++] = '*';
    hex4(sum, out_ + out_length_);
    out_length_ += 4;
  }
  out_[out_length_++] = '\n';
  hw_.send(out_, out_length_);
}

void LedProtocol::event(const char *word) {
  begin();
  put(word);
}

// the outside world -------------------------------------------------------------------------------
void LedProtocol::boot() {
  darken();
  heard_us_ = hw_.clock_us();
  hw_.send("\n", 1);
  event("!READY ");
  put(model_.name);
  put(" ");
  put(model_.firmware);
  finish(true);
}

void LedProtocol::receive(const char *data, size_t length) {
  for (size_t i = 0; i < length; ++i) {
    char c = data[i];
    if (c == '\n' || c == '\r') {
      if (in_length_) line(c == '\n');
      in_length_ = 0;
      overlong_ = false;
    } else if (in_length_ < kMaxLine) {
      in_[in_length_++] = c;
    } else {
      overlong_ = true;
    }
  }
}

void LedProtocol::edge(uint64_t at) {
  poll();
  if (armed_ == kCamera && stage_ == kOff) end_step(at);
  if (armed_ == kCamera) {
    running_ = true;
    begin_step(at);
  }
}

void LedProtocol::closed() {
  stop("closed");
  crc_ = false;
  in_length_ = 0;
}

void LedProtocol::poll() {
  uint64_t now = hw_.clock_us();
  if (lit_ && now - lit_since_us_ >= (uint64_t)model_.max_on_ms * 1000) {
    fault_ = true;
    stop("on-time");
  }
  if ((lit_ || armed_) && now - heard_us_ >= kWatchdogUs) {
    ++watchdog_trips_;
    stop("watchdog");
  }
  while (stage_ != kNone && (now = hw_.clock_us()) >= due_us_) {
    if (stage_ == kOn) {
      begin_step(now);
    } else if (stage_ == kTrigger) {
      hw_.trigger();
      stage_ = kOff;
      due_us_ = now + steps_[index_].exposure_us;
    } else {
      end_step(now);
    }
  }
}

uint64_t LedProtocol::deadline_us() const {
  uint64_t due = stage_us();
  if (lit_ || armed_) due = earlier(due, heard_us_ + kWatchdogUs);
  if (lit_) due = earlier(due, lit_since_us_ + (uint64_t)model_.max_on_ms * 1000);
  return due;
}

// light and sequence ------------------------------------------------------------------------------
void LedProtocol::light(uint16_t led, uint16_t permille, uint64_t at) {
  if (led != lit_) lit_since_us_ = at;
  lit_ = led;
  if (led && permille) hw_.light(led, permille);
  else hw_.dark_step();
}

void LedProtocol::darken() {
  lit_ = 0;
  hw_.dark();
}

void LedProtocol::disarm() {
  armed_ = kDisarmed;
  running_ = false;
  index_ = -1;
  stage_ = kNone;
}

void LedProtocol::stop(const char *reason) {
  bool busy = lit_ || armed_;
  disarm();
  darken();
  if (!busy) return;
  event("!STOP ");
  put(reason);
  finish(true);
}

void LedProtocol::begin_step(uint64_t at) {
  const Step &step = steps_[++index_];
  on_us_ = at;
  light(step.led, step.permille, at);
  due_us_ = at + step.settle_us;
  stage_ = kTrigger;
  if (armed_ == kCamera) {
    due_us_ += step.exposure_us;
    stage_ = kOff;
  }
}

void LedProtocol::end_step(uint64_t at) {
  darken();
  event("!STEP ");
  put((uint64_t)index_);
  put(" ");
  put((uint64_t)steps_[index_].led);
  put(" ");
  put(on_us_);
  put(" ");
  put(at);
  finish(true);
  stage_ = kNone;
  if (index_ + 1 == stored_) {
    disarm();
    event("!DONE ");
    put((uint64_t)stored_);
    finish(true);
  } else if (armed_ == kBoard) {
    stage_ = kOn;
    due_us_ = on_us_ + period_us_ > at ? on_us_ + period_us_ : at;
  }
}

// talk --------------------------------------------------------------------------------------------
void LedProtocol::line(bool ended_by_lf) {
  uint64_t now = hw_.clock_us();
  int error = overlong_ ? kTooLong : 0;
  in_[in_length_] = 0;
  char *star = (char *)memchr(in_, '*', in_length_);
  const bool checked = star != 0;
  for (uint16_t i = 0; i < in_length_ && !error; ++i)
    if (in_[i] < 0x20 || in_[i] > 0x7E) error = crc_ ? kCrc : kSyntax;
  if (checked && !error) {
    char expected[4];
    hex4(crc16(in_, (size_t)(star - in_)), expected);
    if (in_ + in_length_ - star != 5 || memcmp(star + 1, expected, 4) || !ended_by_lf) error = kCrc;
    *star = 0;
  }
  char *words[7];
  int count = 0;
  if (!error) {
    bool gap = true;
    for (char *c = in_; *c; ++c) {
      if (*c == ' ') {
        *c = 0;
        gap = true;
        continue;
      }
      if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 32);
      if (gap && count < 7) words[count++] = c;
      gap = false;
    }
    const bool crc_off = count == 2 && !strcmp(words[0], "CRC") && !strcmp(words[1], "OFF");
    if (crc_ && !checked && !crc_off) error = kCrc;
  }
  begin();
  if (!error) error = count ? command(words, count, now) : kUnknown;
  if (!error) {
    heard_us_ = now;
  } else {
    stop("error");
    begin();
    put("ERR ");
    put((uint64_t)error);
    put(" ");
    put(kErrors[error]);
  }
  finish(crc_ || checked);
}

int LedProtocol::command(char *words[], int count, uint64_t now) {
  const char *word = words[0];
  const bool alone = count == 1;
  uint32_t value = 0;
  int error = 0;
  bool echo = true;
  if (!strcmp(word, "PING")) {
    if (count > 2) return kSyntax;
    if (count == 2 && (error = number(words[1], value))) return error;
    put("PONG ");
    put((uint64_t)value);
    put(" ");
    put(now);
    return 0;
  }
  if (!strcmp(word, "STATUS")) {
    if (!alone) return kSyntax;
    put("STATUS state=");
    put(running_ ? "running" : armed_ ? "armed" : lit_ ? "lit" : "idle");
    put(" lit=");
    put((uint64_t)lit_);
    put(fault_ ? " faults=on-time temp=" : " faults=none temp=");
    int16_t tenths = 0;
    if (hw_.temperature(tenths)) {
      if (tenths < 0) put("-");
      uint16_t size = (uint16_t)(tenths < 0 ? -tenths : tenths);
      put((uint64_t)(size / 10));
      put(".");
      put((uint64_t)(size % 10));
    } else {
      put("none");
    }
    put(" watchdog=");
    put((uint64_t)watchdog_trips_);
    return 0;
  }
  if (!strcmp(word, "OFF") || !strcmp(word, "ABORT")) {
    if (!alone) return kSyntax;
    disarm();
    darken();
    fault_ = false;
  } else if (!strcmp(word, "ID")) {
    if (!alone) return kSyntax;
    if (running_) return kState;
    put("ID name=");
    put(model_.name);
    put(" firmware=");
    put(model_.firmware);
    put(" serial=");
    put(model_.serial);
    put(" leds=");
    put((uint64_t)model_.led_count);
    put(" max_on_ms=");
    put((uint64_t)model_.max_on_ms);
    put(" steps=");
    put((uint64_t)RIG_MAX_STEPS);
    put(" caps=crc,sequence,camera-clocked");
    echo = false;
  } else if (!strcmp(word, "CRC")) {
    if (count != 2) return kSyntax;
    const bool on = !strcmp(words[1], "ON");
    if (!on && strcmp(words[1], "OFF")) return kSyntax;
    if (running_) return kState;
    crc_ = on;
  } else if (!strcmp(word, "ON")) {
    error = on(words, count, now);
    if (!error && count == 2) {  // the level that was not given
      words[2] = (char *)"1000";
      count = 3;
    }
  } else if (!strcmp(word, "SEQ")) {
    if (count != 2) return kSyntax;
    if ((error = number(words[1], value))) return error;
    if (running_) return kState;
    if (value < 1 || value > RIG_MAX_STEPS) return kRange;
    disarm();
    stored_ = 0;
    expected_ = (uint16_t)value;
  } else if (!strcmp(word, "STEP")) {
    error = store(words, count);
  } else if (!strcmp(word, "ARM")) {
    error = arm(words, count);
    if (!error && armed_ == kBoard && count == 2) {
      words[2] = (char *)"0";
      count = 3;
    }
  } else if (!strcmp(word, "RUN")) {
    if (!alone) return kSyntax;
    if (running_ || armed_ != kBoard) return kState;
    running_ = true;
    stage_ = kOn;
    due_us_ = now;
  } else {
    return kUnknown;
  }
  if (error || !echo) return error;
  for (int i = 0; i < count; ++i) {  // numbers as they were understood: without leading zeros
    if (i) put(" ");
    if (i && !number(words[i], value)) put((uint64_t)value);
    else put(words[i]);
  }
  return 0;
}

int LedProtocol::on(char *words[], int count, uint64_t now) {
  uint32_t led = 0, permille = 1000;
  int error = 0;
  if (count < 2 || count > 3) return kSyntax;
  if ((error = number(words[1], led))) return error;
  if (count == 3 && (error = number(words[2], permille))) return error;
  if (running_) return kState;
  if (led < 1 || led > model_.led_count || permille > 1000) return kRange;
  if (fault_) return kFault;
  disarm();
  light((uint16_t)led, (uint16_t)permille, now);
  return 0;
}

int LedProtocol::store(char *words[], int count) {
  uint32_t value[5];
  if (count != 6) return kSyntax;
  for (int i = 0; i < 5; ++i)
    if (int error = number(words[i + 1], value[i])) return error;
  if (running_) return kState;
  if (value[1] > model_.led_count || value[2] > 1000) return kRange;
  if (armed_) return kState;
  if (value[0] > stored_ || value[0] >= expected_) return kState;
  if ((uint64_t)value[3] + value[4] > (uint64_t)model_.max_on_ms * 1000) return kRange;
  Step &step = steps_[value[0]];
  step.led = (uint16_t)value[1];
  step.permille = (uint16_t)value[2];
  step.settle_us = value[3];
  step.exposure_us = value[4];
  if (value[0] == stored_) ++stored_;
  return 0;
}

int LedProtocol::arm(char *words[], int count) {
  uint32_t period = 0;
  int error = 0;
  if (count < 2 || count > 3) return kSyntax;
  const bool camera = count == 2 && !strcmp(words[1], "CAMERA");
  if (!camera && strcmp(words[1], "BOARD")) return kSyntax;
  if (count == 3 && (error = number(words[2], period))) return error;
  if (running_) return kState;
  if (!stored_ || stored_ != expected_) return kState;
  disarm();
  darken();
  armed_ = camera ? kCamera : kBoard;
  period_us_ = period;
  return 0;
}

}  // namespace rig
