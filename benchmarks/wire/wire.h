/* What the fake upstream and the load client share: the replies, the clock, and non-blocking sockets on loopback.

   The replies come from a file that `benchmarks/replies.py` writes, so that both sides know every byte of every reply:
   magic "PSB1", u32 seeds, u32 events; then for each seed: a plain answer, its events where usage was not asked for, and
   its events where it was; each as u32 length + bytes. The last two events are the one with usage (empty, and not sent,
   where it was not asked for) and [DONE]. Numbers are little-endian. A request names its seed (three digits, from
   FIRST_SEED on), and so which of the replies it must get back. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_SEED = 100, SOCKETS = 8192 };

struct bytes {
    char *at;
    size_t length;
};

struct replies {
    uint32_t seeds, events;
    struct bytes *plain; /* [seed] */
    struct bytes *event; /* [(seed * 2 + usage) * events + i] */
};

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t read_number(FILE *file) {
    uint32_t number = 0;
    if (fread(&number, 4, 1, file) != 1) fail("the file of replies is too short");
    return number;
}

static struct bytes read_bytes(FILE *file) {
    struct bytes b = {0};
    b.length = read_number(file);
    b.at = malloc(b.length + 1);
    if (!b.at || fread(b.at, 1, b.length, file) != b.length) fail("the file of replies is too short");
    b.at[b.length] = 0;
    return b;
}

static struct replies read_replies(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    if (read_number(file) != 0x31425350) fail("not a file of replies");
    struct replies r = {.seeds = read_number(file), .events = read_number(file)};
    r.plain = calloc(r.seeds, sizeof *r.plain);
    r.event = calloc((size_t)r.seeds * 2 * r.events, sizeof *r.event);
    for (uint32_t s = 0; s < r.seeds; s++) {
        r.plain[s] = read_bytes(file);
        for (uint32_t e = 0; e < 2 * r.events; e++) r.event[s * 2 * r.events + e] = read_bytes(file);
    }
    fclose(file);
    return r;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Arm `timer` for that instant of the monotonic clock; 0 disarms it. */
static void wake_at(int timer, int64_t instant) {
    struct itimerspec spec = {.it_value = {.tv_sec = instant / 1000000000, .tv_nsec = instant % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void no_delay(int fd) {
    int on = 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void watch(int epoll, int fd, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, operation, fd, &event)) fail("epoll_ctl");
}
