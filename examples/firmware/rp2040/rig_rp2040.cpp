// Reference firmware of an LED board with an RP2040 (Raspberry Pi Pico and its kin), for the Pico SDK.
//
// The sequence runs from a hardware timer: the protocol core tells the next instant at which it has
// something to do, and an alarm is set for it. Light and trigger therefore do not depend on what the
// host sends meanwhile. The main loop only moves bytes between USB and the core.
//
// Pins (GP numbers; the pins of a Pico's edge in brackets):
//   GP14 (19)  in   exposure-active line of the camera, pull-up, rising edge steps the sequence
//   GP15 (20)  out  trigger line to the camera: rises at settle, falls 60 us later; low at boot
//   GP16 (21)  out  OE of the 74HC595 registers, low lights; PWM dims; pull-up of 10 kOhm outside,
//                   so that everything is dark until the firmware runs
//   GP17 (22)  out  latch (RCLK) of the registers
//   GP18 (24)  out  clock (SRCLK), SPI0
//   GP19 (25)  out  data (SER), SPI0
//   GP25       out  the Pico's own LED: lit while an LED of the dome is
// A Pico drives 3.3 V: an opto-isolated camera input needs a transistor (docs/build-a-rig.md).
#include "hardware/gpio.h"
#include "hardware/pwm.h"
#include "hardware/spi.h"
#include "hardware/sync.h"
#include "hardware/timer.h"
#include "hardware/watchdog.h"
#include "pico/stdlib.h"

#include "led_protocol.h"

#ifndef RIG_LED_COUNT
#define RIG_LED_COUNT 96
#endif
#ifndef RIG_MAX_ON_MS
#define RIG_MAX_ON_MS 5000  // what your LEDs stand at full current
#endif

static const uint PIN_EXPOSURE = 14, PIN_TRIGGER = 15, PIN_ENABLE = 16, PIN_LATCH = 17;
static const uint PIN_CLOCK = 18, PIN_DATA = 19, PIN_LIT = 25;
static const uint ALARM_STEP = 0, ALARM_PULSE = 1;
static const uint32_t PULSE_US = 60;
static const uint16_t PWM_TOP = 999;  // a level is per mille
static const uint32_t HANG_MS = 1000; // the chip's own watchdog: a firmware that hangs reboots, dark

static void shift(uint16_t led) {
  uint8_t bytes[(RIG_LED_COUNT + 7) / 8] = {};
  if (led) bytes[sizeof bytes - 1 - (led - 1) / 8] = (uint8_t)(1u << ((led - 1) % 8));
  spi_write_blocking(spi0, bytes, sizeof bytes);  // 12 bytes at 10 MHz: 10 us
  gpio_put(PIN_LATCH, true);
  gpio_put(PIN_LATCH, false);
}

class BoardHardware : public rig::Hardware {
 public:
  void light(uint16_t led, uint16_t permille) override {
    pwm_set_gpio_level(PIN_ENABLE, PWM_TOP + 1);  // dark while the registers change
    shift(led);
    pwm_set_gpio_level(PIN_ENABLE, (uint16_t)(PWM_TOP + 1 - permille));
    gpio_put(PIN_LIT, true);
  }
  void dark() override {
    pwm_set_gpio_level(PIN_ENABLE, PWM_TOP + 1);
    shift(0);
    gpio_put(PIN_LIT, false);
  }
  void trigger() override {
    gpio_put(PIN_TRIGGER, true);
    if (hardware_alarm_set_target(ALARM_PULSE, make_timeout_time_us(PULSE_US)))
      gpio_put(PIN_TRIGGER, false);
  }
  void send(const char *text, size_t length) override {  // from interrupts too: only into the ring
    for (size_t i = 0; i < length; ++i) {
      const size_t next = (head_ + 1) % sizeof ring_;
      if (next == tail_) return;  // nobody reads: a board does not wait for its host
      ring_[head_] = text[i];
      head_ = next;
    }
  }
  uint64_t clock_us() override { return time_us_64(); }
  // To USB, from the main loop.
  void drain() {
    while (tail_ != head_) {
      putchar_raw(ring_[tail_]);
      tail_ = (tail_ + 1) % sizeof ring_;
    }
    stdio_flush();
  }

 private:
  char ring_[4096];
  volatile size_t head_ = 0, tail_ = 0;
};

static BoardHardware hardware;
static const rig::Model MODEL = {"rig-rp2040", "1.0.0", "0001", RIG_LED_COUNT, RIG_MAX_ON_MS};
static rig::LedProtocol protocol(hardware, MODEL);

// With interrupts disabled, or in one: do what is due and set the alarm for what is due next.
static void go_on() {
  uint64_t due;
  do {
    protocol.poll();
    due = protocol.deadline_us();
  } while (due != rig::kNever && hardware_alarm_set_target(ALARM_STEP, from_us_since_boot(due)));
}

static void on_step(uint) { go_on(); }
static void on_pulse(uint) { gpio_put(PIN_TRIGGER, false); }

static void on_exposure(uint, uint32_t) {
  protocol.edge(time_us_64());
  go_on();
}

static void pins() {
  gpio_init(PIN_TRIGGER);
  gpio_set_dir(PIN_TRIGGER, GPIO_OUT);
  gpio_init(PIN_LATCH);
  gpio_set_dir(PIN_LATCH, GPIO_OUT);
  gpio_init(PIN_LIT);
  gpio_set_dir(PIN_LIT, GPIO_OUT);
  gpio_set_function(PIN_ENABLE, GPIO_FUNC_PWM);
  const uint slice = pwm_gpio_to_slice_num(PIN_ENABLE);
  pwm_set_wrap(slice, PWM_TOP);  // 125 kHz at 125 MHz: far above any exposure
  pwm_set_gpio_level(PIN_ENABLE, PWM_TOP + 1);
  pwm_set_enabled(slice, true);
  spi_init(spi0, 10 * 1000 * 1000);
  gpio_set_function(PIN_CLOCK, GPIO_FUNC_SPI);
  gpio_set_function(PIN_DATA, GPIO_FUNC_SPI);
  gpio_init(PIN_EXPOSURE);
  gpio_set_dir(PIN_EXPOSURE, GPIO_IN);
  gpio_pull_up(PIN_EXPOSURE);
}

int main() {
  pins();
  hardware_alarm_claim(ALARM_STEP);
  hardware_alarm_claim(ALARM_PULSE);
  hardware_alarm_set_callback(ALARM_STEP, on_step);
  hardware_alarm_set_callback(ALARM_PULSE, on_pulse);
  stdio_init_all();
  protocol.boot();
  gpio_set_irq_enabled_with_callback(PIN_EXPOSURE, GPIO_IRQ_EDGE_RISE, true, on_exposure);
  watchdog_enable(HANG_MS, true);
  bool was_connected = false;
  for (;;) {
    watchdog_update();
    char data[64];
    size_t length = 0;
    int c;
    while (length < sizeof data && (c = getchar_timeout_us(0)) >= 0) data[length++] = (char)c;
    const bool connected = stdio_usb_connected();
    const uint32_t interrupts = save_and_disable_interrupts();
    if (length) protocol.receive(data, length);
    if (was_connected && !connected) protocol.closed();
    if (length || was_connected != connected) go_on();
    restore_interrupts(interrupts);
    was_connected = connected;
    hardware.drain();
    if (!length) tight_loop_contents();
  }
}
