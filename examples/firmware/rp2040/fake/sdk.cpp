#include "sdk.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

// The lock stands for disabled interrupts: handlers run with it held, as they do on a single core.
static std::recursive_mutex interrupts;
static std::mutex alarm_lock;
static std::condition_variable alarm_changed;
static hardware_alarm_callback_t alarm_calls[4];
static uint64_t alarm_due[4] = {~0ull, ~0ull, ~0ull, ~0ull};
static gpio_irq_callback_t edge_call;
static uint edge_pin;
static int near_end = -1;
static bool heard = false;
static char pending[8192];
static size_t pending_length = 0;

uint64_t time_us_64() {
  static const auto start = std::chrono::steady_clock::now();
  return (uint64_t)std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now() - start).count();
}
absolute_time_t from_us_since_boot(uint64_t us) { return us; }
absolute_time_t make_timeout_time_us(uint64_t us) { return time_us_64() + us; }

uint32_t save_and_disable_interrupts() { interrupts.lock(); return 0; }
void restore_interrupts(uint32_t) { interrupts.unlock(); }

static void run_alarms() {
  std::unique_lock<std::mutex> hold(alarm_lock);
  for (;;) {
    uint next = 0;
    for (uint i = 1; i < 4; ++i) if (alarm_due[i] < alarm_due[next]) next = i;
    const uint64_t due = alarm_due[next], now = time_us_64();
    if (due > now) {
      const uint64_t wait = due - now < 50000 ? due - now : 50000;
      alarm_changed.wait_for(hold, std::chrono::microseconds(wait));
      continue;
    }
    hold.unlock();
    {
      std::lock_guard<std::recursive_mutex> in_interrupt(interrupts);
      hold.lock();
      const bool still = alarm_due[next] == due;
      if (still) alarm_due[next] = ~0ull;
      hold.unlock();
      if (still) alarm_calls[next](next);
    }
    hold.lock();
  }
}

void hardware_alarm_claim(uint) {}
void hardware_alarm_set_callback(uint alarm, hardware_alarm_callback_t call) {
  alarm_calls[alarm] = call;
}
bool hardware_alarm_set_target(uint alarm, absolute_time_t at) {
  std::lock_guard<std::mutex> hold(alarm_lock);
  if (at <= time_us_64()) return true;
  alarm_due[alarm] = at;
  alarm_changed.notify_one();
  return false;
}

static void run_edges(sigset_t signals) {
  for (int number; !sigwait(&signals, &number);) {
    std::lock_guard<std::recursive_mutex> in_interrupt(interrupts);
    if (edge_call) edge_call(edge_pin, GPIO_IRQ_EDGE_RISE);
  }
}
void gpio_set_irq_enabled_with_callback(uint pin, uint32_t, bool, gpio_irq_callback_t call) {
  edge_pin = pin;
  edge_call = call;
}

bool stdio_init_all() {
  near_end = posix_openpt(O_RDWR | O_NOCTTY);
  if (near_end < 0 || grantpt(near_end) || unlockpt(near_end)) return perror("pty"), exit(1), false;
  const int far = open(ptsname(near_end), O_RDWR | O_NOCTTY);
  termios raw;
  tcgetattr(far, &raw);
  cfmakeraw(&raw);
  tcsetattr(far, TCSANOW, &raw);
  close(far);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);  // also of the threads that are made now
  std::thread(run_alarms).detach();
  std::thread(run_edges, signals).detach();
  printf("%s\n", ptsname(near_end));
  fflush(stdout);
  return true;
}

static short port_events() {
  pollfd port = {near_end, POLLIN, 0};
  return poll(&port, 1, 0) > 0 ? port.revents : (short)0;
}
bool stdio_usb_connected() {
  const bool there = !(port_events() & POLLHUP);
  heard = heard && there;
  return heard;
}
int getchar_timeout_us(uint32_t) {
  static char data[256];
  static ssize_t length = 0, at = 0;
  if (at == length) {
    at = length = 0;
    if (!(port_events() & POLLIN)) return -1;
    length = read(near_end, data, sizeof data);
    if (length <= 0) return length = 0, -1;
    heard = true;
  }
  return (unsigned char)data[at++];
}
int putchar_raw(int c) {
  if (pending_length < sizeof pending) pending[pending_length++] = (char)c;
  return c;
}
void stdio_flush() {  // nobody there to read: USB drops it
  if (heard && pending_length && write(near_end, pending, pending_length) < 0) heard = false;
  pending_length = 0;
}
void tight_loop_contents() { usleep(300); }

void gpio_init(uint) {}
void gpio_set_dir(uint, bool) {}
void gpio_put(uint, bool) {}
void gpio_pull_up(uint) {}
void gpio_set_function(uint, int) {}
uint pwm_gpio_to_slice_num(uint) { return 0; }
void pwm_set_wrap(uint, uint16_t) {}
void pwm_set_gpio_level(uint, uint16_t) {}
void pwm_set_enabled(uint, bool) {}
uint spi_init(spi_inst *, uint baud) { return baud; }
int spi_write_blocking(spi_inst *, const uint8_t *, size_t length) { return (int)length; }
void watchdog_enable(uint32_t, bool) {}
void watchdog_update() {}
