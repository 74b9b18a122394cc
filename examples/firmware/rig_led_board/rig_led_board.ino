// Reference firmware of an LED board for the rig: a chain of 74HC595 shift registers switches one
// constant-current driver per LED; their common dimming input is on a PWM pin.
// Fits any Arduino-class board with 4 kB of RAM (Mega 2560, SAMD, RP2040, ESP32, Teensy).
#include <SPI.h>

#include "led_protocol.h"

const uint16_t LED_COUNT = 96;
const uint32_t MAX_ON_MS = 5000;        // what your LEDs stand at full current
const uint8_t PIN_LATCH = 10;           // RCLK of the registers
const uint8_t PIN_ENABLE = 9;           // OE of the registers, low lights, PWM dims; pull-up fitted
const uint8_t PIN_TRIGGER = 7;          // to the camera's trigger input
const uint8_t PIN_EXPOSURE = 2;         // from the camera's exposure-active output
const uint32_t BAUD = 115200;

static void shift(uint16_t led) {
  for (int16_t chip = (LED_COUNT + 7) / 8 - 1; chip >= 0; --chip) {
    uint16_t first = (uint16_t)chip * 8;
    SPI.transfer(led > first && led <= first + 8 ? (uint8_t)(1u << (led - 1 - first)) : 0);
  }
  digitalWrite(PIN_LATCH, HIGH);
  digitalWrite(PIN_LATCH, LOW);
}

class BoardHardware : public rig::Hardware {
 public:
  void light(uint16_t led, uint16_t permille) override {
    digitalWrite(PIN_ENABLE, HIGH);     // dark while the registers change
    shift(led);
    if (permille >= 1000) digitalWrite(PIN_ENABLE, LOW);
    else analogWrite(PIN_ENABLE, 255 - (int)((uint32_t)permille * 255 / 1000));
  }
  void dark() override {
    digitalWrite(PIN_ENABLE, HIGH);
    shift(0);
  }
  void trigger() override {
    digitalWrite(PIN_TRIGGER, HIGH);
    delayMicroseconds(50);
    digitalWrite(PIN_TRIGGER, LOW);
  }
  void send(const char *text, size_t length) override { Serial.write((const uint8_t *)text, length); }
  uint64_t clock_us() override {        // micros() wraps after 71 minutes
    uint32_t now = micros();
    if (now < last_) high_ += (uint64_t)1 << 32;
    last_ = now;
    return high_ + now;
  }

 private:
  uint32_t last_ = 0;
  uint64_t high_ = 0;
};

static const rig::Model MODEL = {"rig-reference", "1.0.0", "0001", LED_COUNT, MAX_ON_MS};
static BoardHardware hardware;
static rig::LedProtocol protocol(hardware, MODEL);
static volatile uint8_t edges = 0;

static void on_exposure() { edges = edges + 1; }

void setup() {
  pinMode(PIN_ENABLE, OUTPUT);
  digitalWrite(PIN_ENABLE, HIGH);
  pinMode(PIN_LATCH, OUTPUT);
  pinMode(PIN_TRIGGER, OUTPUT);
  pinMode(PIN_EXPOSURE, INPUT_PULLUP);
  SPI.begin();
  Serial.begin(BAUD);
  attachInterrupt(digitalPinToInterrupt(PIN_EXPOSURE), on_exposure, RISING);
  protocol.boot();
}

void loop() {
  static uint8_t seen = 0;
  while (seen != edges) {
    ++seen;
    protocol.edge(hardware.clock_us());
  }
  while (Serial.available()) {
    char c = (char)Serial.read();
    protocol.receive(&c, 1);
  }
  protocol.poll();
}
