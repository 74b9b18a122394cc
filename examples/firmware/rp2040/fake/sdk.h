// What rig_rp2040.cpp uses of the Pico SDK, on a PC: a pty for USB, threads for interrupts, SIGUSR1 for
// an edge of the camera. Only for tests; the names are the SDK's.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef unsigned int uint;
typedef uint64_t absolute_time_t;
typedef void (*hardware_alarm_callback_t)(uint alarm);
typedef void (*gpio_irq_callback_t)(uint gpio, uint32_t events);
struct spi_inst;

enum { GPIO_IN = 0, GPIO_OUT = 1, GPIO_FUNC_SPI = 1, GPIO_FUNC_PWM = 4, GPIO_IRQ_EDGE_RISE = 8 };
#define spi0 ((spi_inst *)0)

void gpio_init(uint pin);
void gpio_set_dir(uint pin, bool out);
void gpio_put(uint pin, bool level);
void gpio_pull_up(uint pin);
void gpio_set_function(uint pin, int function);
void gpio_set_irq_enabled_with_callback(uint pin, uint32_t events, bool on, gpio_irq_callback_t call);
uint pwm_gpio_to_slice_num(uint pin);
void pwm_set_wrap(uint slice, uint16_t top);
void pwm_set_gpio_level(uint pin, uint16_t level);
void pwm_set_enabled(uint slice, bool on);
uint spi_init(spi_inst *spi, uint baud);
int spi_write_blocking(spi_inst *spi, const uint8_t *data, size_t length);
uint32_t save_and_disable_interrupts();
void restore_interrupts(uint32_t state);
uint64_t time_us_64();
absolute_time_t from_us_since_boot(uint64_t us);
absolute_time_t make_timeout_time_us(uint64_t us);
void hardware_alarm_claim(uint alarm);
void hardware_alarm_set_callback(uint alarm, hardware_alarm_callback_t call);
bool hardware_alarm_set_target(uint alarm, absolute_time_t at);  // true: it is past already
void watchdog_enable(uint32_t ms, bool pause_on_debug);
void watchdog_update();
bool stdio_init_all();
bool stdio_usb_connected();
int getchar_timeout_us(uint32_t us);
int putchar_raw(int c);
void stdio_flush();
void tight_loop_contents();
