/* A fake OpenAI-like upstream: one thread, epoll, keep-alive, chunked streams.

   usage: upstream REPLIES        binds a free loopback port, prints "port N", serves until it is ended
   POST (any path)                answers the reply that the body's "seed" names; "stream" and "include_usage" count
   GET /pace/STREAM_US/ANSWER_US  from now on: microseconds between the events of a stream, and before a plain answer;
                                  0: a stream is one write, so that the gateway gets many events with each read
   GET /bill                      what it has billed since it started, as JSON */
#include "wire.h"

static struct replies replies;
static struct bytes *answers, *frames; /* as they go over the wire: with the head; each event as one HTTP chunk */
static struct bytes *bursts;           /* [seed * 2 + usage]: a whole stream with its head */
static struct bytes stream_head = {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    "x-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n", 0};
static int64_t stream_pace, answer_pace;
static struct { uint64_t requests, streams, prompt, cached, completion; } bill;

struct connection {
    char *in;
    size_t capacity, used;  /* of `in` */
    size_t head;            /* length of the request's head, once it is known */
    struct bytes out;       /* what the socket did not take yet; points into memory that stays */
    int busy, stream, usage, next; /* next event of the stream */
    uint32_t seed;
    int64_t due; /* when to go on; 0: at once */
};

static struct connection *connections[SOCKETS];
static int epoll, timer, highest;

static struct bytes printed(const char *head, struct bytes body, const char *tail) {
    struct bytes b = {.at = malloc(strlen(head) + body.length + strlen(tail) + 1)};
    char *at = stpcpy(b.at, head);
    at = (char *)memcpy(at, body.at, body.length) + body.length;
    b.length = stpcpy(at, tail) - b.at;
    return b;
}

static void compose(void) {
    char head[256];
    answers = calloc(replies.seeds, sizeof *answers);
    frames = calloc((size_t)replies.seeds * 2 * replies.events, sizeof *frames);
    bursts = calloc((size_t)replies.seeds * 2, sizeof *bursts);
    for (uint32_t s = 0; s < replies.seeds; s++) {
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n"
                 "openai-processing-ms: 1\r\ncontent-length: %zu\r\n\r\n", replies.plain[s].length);
        answers[s] = printed(head, replies.plain[s], "");
    }
    for (uint32_t kind = 0; kind < replies.seeds * 2; kind++) {
        struct bytes burst = printed("", stream_head, "");
        for (uint32_t e = kind * replies.events; e < (kind + 1) * replies.events; e++) {
            if (!replies.event[e].length) continue;
            snprintf(head, sizeof head, "%zx\r\n", replies.event[e].length);
            frames[e] = printed(head, replies.event[e], (e + 1) % replies.events ? "\r\n" : "\r\n0\r\n\r\n");
            burst.at = realloc(burst.at, burst.length + frames[e].length);
            memcpy(burst.at + burst.length, frames[e].at, frames[e].length);
            burst.length += frames[e].length;
        }
        bursts[kind] = burst;
    }
}

static void hang_up(int fd) {
    struct connection *c = connections[fd];
    if (!c) return;
    connections[fd] = NULL;
    close(fd);
    free(c->in);
    free(c);
}

/* Send; what the socket does not take waits in `out` for EPOLLOUT. Returns 0 when the peer is gone. */
static int push(int fd, struct bytes b) {
    struct connection *c = connections[fd];
    ssize_t sent = send(fd, b.at, b.length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return 0;
    if (sent < 0) sent = 0;
    int waited = c->out.length > 0;
    c->out = (struct bytes){b.at + sent, b.length - sent};
    if ((c->out.length > 0) != waited) watch(epoll, fd, EPOLLIN | (waited ? 0 : EPOLLOUT), EPOLL_CTL_MOD);
    return 1;
}

/* The number after `"name":` in a request's body, or -1. The usage that is billed stands in the reply itself. */
static long number_after(const char *text, size_t length, const char *name) {
    const char *at = memmem(text, length, name, strlen(name));
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void book(struct connection *c) {
    struct bytes said = c->stream ? replies.event[(c->seed * 2 + 2) * replies.events - 2] : replies.plain[c->seed];
    bill.requests++;
    bill.streams += c->stream;
    bill.prompt += number_after(said.at, said.length, "\"prompt_tokens\":");
    bill.cached += number_after(said.at, said.length, "\"cached_tokens\":");
    bill.completion += number_after(said.at, said.length, "\"completion_tokens\":");
}

/* Take the answer on as far as time and socket allow. Returns 0 when the peer is gone. */
static int advance(int fd, int64_t now) {
    struct connection *c = connections[fd];
    while (c->busy && !c->out.length) {
        if (c->due > now + 50000) return 1; /* 50 us early is on time: one wake-up serves all that are due */
        if (!c->stream || !stream_pace) {
            c->busy = 0;
            book(c);
            return push(fd, c->stream ? bursts[c->seed * 2 + c->usage] : answers[c->seed]);
        }
        if (c->next < 0) {
            c->next = 0;
            if (!push(fd, stream_head)) return 0;
            continue;
        }
        int event = (c->seed * 2 + c->usage) * replies.events + c->next++;
        if (c->next == (int)replies.events) {
            c->busy = 0;
            book(c);
        }
        if (c->next < (int)replies.events - 2) c->due += stream_pace; /* the last ones come together */
        if (frames[event].length && !push(fd, frames[event])) return 0;
    }
    return 1;
}

/* Join the chunks of a chunked body in place. Returns the body's length, or -1 while it is incomplete; `*whole` is how
   many bytes it took on the wire. */
static long join_chunks(char *body, size_t length, size_t *whole) {
    size_t at = 0, joined = 0;
    for (int pass = 0; pass < 2; pass++) /* first look whether all is there, then move */
        for (at = 0;;) {
            char *end = memmem(body + at, length - at, "\r\n", 2);
            if (!end) return -1;
            size_t size = strtoul(body + at, NULL, 16), start = end + 2 - body;
            if (start + size + 2 > length) return -1;
            if (pass) memmove(body + joined, body + start, size), joined += size;
            at = start + size + 2;
            if (!size) break;
        }
    *whole = at;
    return joined;
}

static int says(const char *body, size_t length, const char *name) {
    const char *at = memmem(body, length, name, strlen(name));
    if (!at) return 0;
    at += strlen(name);
    while (*at == ' ') at++;
    return !strncmp(at, "true", 4);
}

static int control(int fd, const char *path) {
    static char text[512], body[256];
    sscanf(path, "/pace/%ld/%ld", &stream_pace, &answer_pace);
    if (!strncmp(path, "/pace/", 6)) stream_pace *= 1000, answer_pace *= 1000;
    snprintf(body, sizeof body,
             "{\"requests\": %lu, \"streams\": %lu, \"prompt_tokens\": %lu, \"cached_tokens\": %lu, \"completion_tokens\": %lu}",
             bill.requests, bill.streams, bill.prompt, bill.cached, bill.completion);
    int length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                          strlen(body), body);
    return push(fd, (struct bytes){text, length});
}

/* Serve one request if it is there as a whole. Returns 0 when the peer is gone or talks nonsense. */
static int serve(int fd, int64_t now) {
    struct connection *c = connections[fd];
    if (c->busy || c->out.length || !c->used) return 1;
    if (!c->head) {
        char *end = memmem(c->in, c->used, "\r\n\r\n", 4);
        if (!end) return 1;
        c->head = end + 4 - c->in;
        end[2] = 0; /* the head is a string now */
    }
    char *body = c->in + c->head, *says_length = strcasestr(c->in, "\ncontent-length:");
    size_t there = c->used - c->head, whole = says_length ? strtoul(says_length + 16, NULL, 10) : 0;
    long length = whole;
    if (strcasestr(c->in, "\ntransfer-encoding: chunked")) {
        length = join_chunks(body, there, &whole);
        if (length < 0) return 1;
    } else if (there < whole) return 1;
    int get = !strncmp(c->in, "GET ", 4), alive = 1;
    if (get) {
        alive = control(fd, c->in + 4);
    } else {
        char kept = body[length];
        body[length] = 0;
        long seed = number_after(body, length, "\"seed\":") - FIRST_SEED;
        if (seed < 0 || seed >= replies.seeds) return 0;
        c->seed = seed;
        c->stream = says(body, length, "\"stream\":");
        c->usage = says(body, length, "\"include_usage\":");
        body[length] = kept;
        c->busy = 1;
        c->next = -1;
        c->due = c->stream || !answer_pace ? 0 : now + answer_pace;
        if (c->stream && stream_pace) c->due = now;
    }
    c->used -= c->head + whole;
    memmove(c->in, body + whole, c->used);
    c->head = 0;
    return alive && (get || advance(fd, now));
}

static int receive(int fd) {
    struct connection *c = connections[fd];
    for (;;) {
        if (c->capacity - c->used < 65536 && !(c->in = realloc(c->in, (c->capacity = c->capacity * 2 + 131072)))) fail("memory");
        ssize_t got = recv(fd, c->in + c->used, c->capacity - c->used - 1, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return 0;
        if (got < 0) return 1;
        c->used += got;
        c->in[c->used] = 0;
        if (c->used + 1 < c->capacity) return 1;
    }
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "usage: upstream REPLIES\n"), 2;
    replies = read_replies(arguments[1]);
    stream_head.length = strlen(stream_head.at);
    compose();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (void *)&address, size) || listen(listener, 1024)) fail("listen");
    getsockname(listener, (void *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(epoll, timer, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        int64_t now = now_ns();
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= SOCKETS) { close(fd); continue; }
                    no_delay(fd);
                    connections[fd] = calloc(1, sizeof **connections);
                    if (fd > highest) highest = fd;
                    watch(epoll, fd, EPOLLIN, EPOLL_CTL_ADD);
                }
            } else if (fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, 8) < 0) continue;
                for (int other = 0; other <= highest; other++)
                    if (connections[other] && connections[other]->busy && !advance(other, now)) hang_up(other);
            } else if (connections[fd]) {
                int alive = 1;
                if (events[i].events & EPOLLOUT) alive = push(fd, connections[fd]->out) && advance(fd, now);
                if (alive && events[i].events & ~EPOLLOUT) alive = receive(fd);
                if (!alive || !serve(fd, now)) hang_up(fd);
            }
        }
        int64_t next = 0;
        if (stream_pace || answer_pace)
            for (int fd = 0; fd <= highest; fd++) {
                struct connection *c = connections[fd];
                if (c && c->busy && !c->out.length && c->due && (!next || c->due < next)) next = c->due;
            }
        wake_at(timer, next);
    }
}
