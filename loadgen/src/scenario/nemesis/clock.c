/* Other clocks for one process: what the file in NEMESIS_CLOCK holds, nanoseconds, is added to the
 * real ones at each look; the first number to the wall clock, the second to the steady one, as if
 * that time had passed. Loaded by LD_PRELOAD, for tests only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offsets;
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void begin(void) {
    real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    const char *path = getenv("NEMESIS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    /* Behind the end of the file lies nothing but zeros. */
    void *page = mmap(0, 2 * sizeof *offsets, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offsets = page;
    close(file);
}

static struct timespec moved(struct timespec at, int64_t offset) {
    int64_t ns = at.tv_sec * INT64_C(1000000000) + at.tv_nsec + offset;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static int64_t offset_of(clockid_t clock) {
    if (!offsets) return 0;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return offsets[0];
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
        return offsets[1];
    default:
        return 0;
    }
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real_syscall) begin();
    int done = (int)real_syscall(SYS_clock_gettime, clock, at);
    if (done == 0) *at = moved(*at, offset_of(clock));
    return done;
}

/* Whoever waits until a time by the steady clock has read it here: the kernel knows the real one. */
long syscall(long number, ...) {
    if (!real_syscall) begin();
    long with[6];
    va_list all;
    va_start(all, number);
    for (int at = 0; at < 6; at++) with[at] = va_arg(all, long);
    va_end(all);
    struct timespec until;
    int is_wait = number == SYS_futex && (with[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    if (is_wait && !(with[1] & FUTEX_CLOCK_REALTIME) && with[3]) {
        until = moved(*(const struct timespec *)with[3], -offset_of(CLOCK_MONOTONIC));
        with[3] = (long)&until;
    }
    return real_syscall(number, with[0], with[1], with[2], with[3], with[4], with[5]);
}
