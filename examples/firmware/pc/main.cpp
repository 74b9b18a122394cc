// The reference firmware on a PC: a pty instead of a serial port, no LEDs, SIGUSR1 for an edge of
// the camera. Prints the name of the pty and runs until it is killed.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../rig_led_board/led_protocol.h"

static volatile sig_atomic_t edges = 0;

class PcHardware : public rig::Hardware {
 public:
  explicit PcHardware(int fd) : fd_(fd), start_(now()) {}
  void light(uint16_t, uint16_t) override {}
  void dark() override {}
  void trigger() override {}
  void send(const char *text, size_t length) override {
    if (!connected) return;  // nobody there to read: a real UART would send into the void
    while (length) {
      ssize_t sent = write(fd_, text, length);
      if (sent <= 0) return;
      text += sent;
      length -= (size_t)sent;
    }
  }
  uint64_t clock_us() override { return now() - start_; }
  bool connected = false;

 private:
  static uint64_t now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
  }
  int fd_;
  uint64_t start_;
};

int main(int argc, char **argv) {
  int fd = posix_openpt(O_RDWR | O_NOCTTY);
  if (fd < 0 || grantpt(fd) || unlockpt(fd)) return perror("pty"), 1;
  int far = open(ptsname(fd), O_RDWR | O_NOCTTY);
  termios raw;
  tcgetattr(far, &raw);
  cfmakeraw(&raw);
  tcsetattr(far, TCSANOW, &raw);
  close(far);
  signal(SIGUSR1, [](int) { edges = edges + 1; });
  const uint32_t max_on_ms = argc > 1 ? (uint32_t)atoi(argv[1]) : 5000;
  const rig::Model model = {"rig-reference", "1.0.0", "PC", 96, max_on_ms};
  PcHardware hardware(fd);
  static rig::LedProtocol protocol(hardware, model);
  protocol.boot();
  printf("%s\n", ptsname(fd));
  fflush(stdout);
  int seen = 0;
  for (;;) {
    pollfd waiting = {fd, POLLIN, 0};
    if (poll(&waiting, 1, 1) > 0) {
      char data[256];
      if (waiting.revents & POLLIN) {
        hardware.connected = true;
        ssize_t length = read(fd, data, sizeof data);
        if (length > 0) protocol.receive(data, (size_t)length);
      } else if (waiting.revents & POLLHUP) {
        if (hardware.connected) {
          hardware.connected = false;
          protocol.closed();
        }
        usleep(1000);
      }
    }
    while (seen != edges) {
      ++seen;
      protocol.edge(hardware.clock_us());
    }
    protocol.poll();
  }
}
