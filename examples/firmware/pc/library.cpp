// The reference firmware as a library: whoever loads it says what time it is and hears what the pins
// do. The virtual rig runs the very code of a board in this way (capture/leds/native.py).
#include <string.h>

#include "../rig_led_board/led_protocol.h"

extern "C" {
struct rig_pins {
  void (*light)(uint16_t led, uint16_t permille);  // 0: a step that stays dark
  void (*dark)();
  void (*trigger)();
  void (*send)(const char *text, size_t length);
};
}

namespace {

class LibraryHardware : public rig::Hardware {
 public:
  explicit LibraryHardware(const rig_pins &pins) : pins_(pins) {}
  void light(uint16_t led, uint16_t permille) override { pins_.light(led, permille); }
  void dark_step() override { pins_.light(0, 0); }
  void dark() override { pins_.dark(); }
  void trigger() override { pins_.trigger(); }
  void send(const char *text, size_t length) override { pins_.send(text, length); }
  uint64_t clock_us() override { return now; }
  uint64_t now = 0;

 private:
  rig_pins pins_;
};

struct Board {
  Board(const rig_pins &pins, const char *serial, uint16_t leds, uint32_t max_on_ms)
      : hardware(pins), model{"rig-reference", "1.0.0", serial_, leds, max_on_ms},
        protocol(hardware, model) {
    strncpy(serial_, serial, sizeof serial_ - 1);
  }
  char serial_[32] = {};
  LibraryHardware hardware;
  rig::Model model;
  rig::LedProtocol protocol;
};

}  // namespace

extern "C" {

Board *rig_board_new(const rig_pins *pins, const char *serial, uint16_t leds, uint32_t max_on_ms,
                     uint64_t now) {
  Board *board = new Board(*pins, serial, leds, max_on_ms);
  board->hardware.now = now;
  board->protocol.boot();
  return board;
}

void rig_board_delete(Board *board) { delete board; }

uint64_t rig_board_deadline(Board *board) { return board->protocol.deadline_us(); }

int rig_board_awaits_edges(Board *board) { return board->protocol.awaits_edges(); }

// Does what was due up to `now`, each at the instant it was due.
void rig_board_advance(Board *board, uint64_t now) {
  uint64_t due;
  while ((due = board->protocol.deadline_us()) <= now) {
    board->hardware.now = due;
    board->protocol.poll();
  }
  board->hardware.now = now;
}

void rig_board_feed(Board *board, const char *data, size_t length, uint64_t now) {
  rig_board_advance(board, now);
  board->protocol.receive(data, length);
}

void rig_board_edge(Board *board, uint64_t now) {
  rig_board_advance(board, now);
  board->protocol.edge(now);
}

void rig_board_closed(Board *board, uint64_t now) {
  rig_board_advance(board, now);
  board->protocol.closed();
}

}  // extern "C"
