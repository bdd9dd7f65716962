/* A load client: one thread, epoll, keep-alive. It checks every reply while it measures.

   usage: load key=value ...
     port=N request=FILE replies=FILE   the whole HTTP request, whose "seed":NNN is changed each time; what must come back
     stream=0|1 usage=0|1               which reply to expect
     check=bytes|marker                 every byte must be right (comments between events are let through), or, for
                                        gateways that write the reply anew, the seed's marker must be in a whole reply
     connections=N seconds=S            how many at once, for how long new requests are begun
     rate=R                             0: closed loop; else R requests a second, spread over free connections, and
                                        latency counts from the instant at which a request was due
   Prints one JSON object: counts, seconds, and latencies in microseconds. */
#include "wire.h"

enum phase { HEAD, LENGTH, SIZE, CHUNK, CHUNK_END, TRAILER };

struct connection {
    int fd, busy;
    char *request;
    size_t sent;
    int64_t begun, first; /* instants: the request was due; the first byte of the body came */
    uint32_t seed;
    enum phase phase;
    char head[16384];
    size_t head_used, left; /* left: of the body or of the chunk */
    size_t line;            /* characters in the present line of the trailer */
    int whole, wrong, status;
    size_t at;              /* how much of the expected reply has come */
    int comment;            /* 1: inside one; 2: just behind its line */
    char *body;             /* kept only for check=marker, or when the status is not 200 */
    size_t body_used, body_capacity;
};

static struct replies replies;
static struct bytes *expected, request;
static size_t seed_at;
static int port, stream, usage, by_marker, epoll;
static struct connection *owner[SOCKETS];
static uint64_t done, errors, wrong, reconnects, received;
static uint32_t *latencies, *firsts;
static size_t capacity;
static char trouble[401];
static int64_t ended;

static void complain(struct connection *c, const char *what) {
    if (!*trouble) snprintf(trouble, sizeof trouble, "%s: %.300s", what, c->body_used ? c->body : c->head);
    for (char *t = trouble; *t; t++)
        if (*t == '"' || *t == '\\' || (unsigned char)*t < ' ') *t = '\'';
}

static void keep(struct connection *c, const char *data, size_t length) {
    if (c->body_used + length + 1 > c->body_capacity)
        c->body = realloc(c->body, c->body_capacity = (c->body_used + length) * 2 + 4096);
    memcpy(c->body + c->body_used, data, length);
    c->body[c->body_used += length] = 0;
}

/* Compare a piece of the body with what must come. */
static void check(struct connection *c, const char *data, size_t length) {
    struct bytes must = expected[c->seed];
    if (!c->first) c->first = now_ns();
    received += length;
    if (by_marker || c->status != 200) {
        keep(c, data, length);
        return;
    }
    while (length && !c->wrong) {
        if (c->comment) {
            if (c->comment == 2 && *data != '\n') {
                c->comment = 0;
                continue;
            }
            c->comment = *data == '\n' ? (c->comment == 2 ? 0 : 2) : 1;
            data++, length--;
            continue;
        }
        if (stream && c->at == must.length) return; /* behind [DONE] a gateway may add what clients do not read */
        size_t some = length < must.length - c->at ? length : must.length - c->at, same = 0;
        if (some && !memcmp(data, must.at + c->at, some)) same = some;
        else while (same < some && data[same] == must.at[c->at + same]) same++;
        c->at += same, data += same, length -= same;
        if (!length || (stream && c->at == must.length)) continue;
        int between = !c->at || (must.at[c->at - 1] == '\n' && c->at > 1 && must.at[c->at - 2] == '\n');
        if (stream && between && *data == ':') c->comment = 1;
        else c->wrong = 1;
    }
}

/* Read the head of a reply. Returns how many bytes of `data` it took. */
static size_t read_head(struct connection *c, const char *data, size_t length) {
    size_t before = c->head_used, some = sizeof c->head - 1 - before;
    if (some > length) some = length;
    memcpy(c->head + before, data, some);
    c->head[c->head_used += some] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return some;
    end[2] = 0;
    c->status = atoi(c->head + 9);
    char *says = strcasestr(c->head, "\ncontent-length:");
    c->left = says ? strtoul(says + 16, NULL, 10) : 0;
    c->phase = strcasestr(c->head, "\ntransfer-encoding: chunked") ? SIZE : LENGTH;
    if (c->phase == SIZE) c->left = 0;
    else c->whole = !c->left;
    return end + 4 - c->head - before;
}

static void feed(struct connection *c, const char *data, size_t length) {
    while (length && !c->whole) {
        size_t took = 1;
        switch (c->phase) {
        case HEAD:
            took = read_head(c, data, length);
            break;
        case LENGTH:
        case CHUNK:
            took = length < c->left ? length : c->left;
            check(c, data, took);
            c->left -= took;
            if (!c->left && c->phase == CHUNK) c->phase = CHUNK_END;
            else c->whole = !c->left;
            break;
        case SIZE: /* hexadecimal digits up to the end of the line */
            if (*data == '\n') c->phase = c->left ? CHUNK : TRAILER, c->line = 0;
            else if (*data != '\r') c->left = c->left * 16 + (*data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10);
            break;
        case CHUNK_END:
            if (*data == '\n') c->phase = SIZE;
            break;
        case TRAILER:
            if (*data == '\n') c->whole = !c->line, c->line = 0;
            else if (*data != '\r') c->line++;
        }
        data += took, length -= took;
    }
}

static void dial(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || c->fd >= SOCKETS || connect(c->fd, (void *)&address, sizeof address)) fail("connect");
    no_delay(c->fd);
    owner[c->fd] = c;
    watch(epoll, c->fd, EPOLLIN, EPOLL_CTL_ADD);
}

static void redial(struct connection *c) {
    close(c->fd);
    reconnects++;
    dial(c);
}

static void send_rest(struct connection *c) {
    while (c->sent < request.length) {
        ssize_t sent = send(c->fd, c->request + c->sent, request.length - c->sent, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) watch(epoll, c->fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return; /* a broken connection shows itself when we read */
        }
        c->sent += sent;
    }
}

static void begin(struct connection *c, int64_t due) {
    static uint32_t count;
    char digits[4];
    c->seed = count++ % replies.seeds;
    snprintf(digits, sizeof digits, "%03u", (FIRST_SEED + c->seed) % 1000);
    memcpy(c->request + seed_at, digits, 3);
    c->busy = 1;
    c->begun = due;
    c->phase = HEAD;
    c->first = c->whole = c->wrong = c->status = c->comment = 0;
    c->sent = c->head_used = c->at = c->body_used = 0;
    send_rest(c);
}

static void finish(struct connection *c) {
    ended = now_ns();
    c->busy = 0;
    if (by_marker && c->status == 200) {
        char marker[32];
        snprintf(marker, sizeof marker, "end-of-answer-%u", FIRST_SEED + c->seed);
        c->wrong = !c->body_used || !strstr(c->body, marker) || (stream && !strstr(c->body, "[DONE]"));
    } else if (c->at < expected[c->seed].length) c->wrong = 1;
    if (c->status != 200) errors++, complain(c, "status");
    else if (c->wrong) wrong++, complain(c, "wrong reply");
    else {
        if (done == capacity) {
            capacity = capacity * 2 + 65536;
            latencies = realloc(latencies, capacity * sizeof *latencies);
            firsts = realloc(firsts, capacity * sizeof *firsts);
        }
        latencies[done] = (ended - c->begun) / 1000;
        firsts[done++] = (c->first - c->begun) / 1000;
    }
    if (c->wrong || strcasestr(c->head, "\nconnection: close")) redial(c);
}

/* Read what came. Returns 1 when a reply is complete. */
static int receive(struct connection *c) {
    static char buffer[262144];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) {
        if (c->busy) errors++, complain(c, "connection lost"), ended = now_ns();
        redial(c);
        int was_busy = c->busy;
        c->busy = 0;
        return was_busy;
    }
    if (c->busy) feed(c, buffer, got);
    if (!c->busy || !c->whole) return 0;
    finish(c);
    return 1;
}

static int ascending(const void *a, const void *b) {
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static void print_quantiles(const char *name, uint32_t *values) {
    static const double quantiles[] = {.5, .9, .99};
    if (done) qsort(values, done, sizeof *values, ascending);
    for (int i = 0; i < 3; i++)
        printf(", \"%s_p%g_us\": %u", name, quantiles[i] * 100, done ? values[(size_t)(quantiles[i] * (done - 1) + .5)] : 0);
}

static void expect(void) {
    expected = calloc(replies.seeds, sizeof *expected);
    for (uint32_t s = 0; s < replies.seeds; s++) {
        if (!stream) {
            expected[s] = replies.plain[s];
            continue;
        }
        for (uint32_t e = 0; e < replies.events; e++) {
            struct bytes event = replies.event[(s * 2 + usage) * replies.events + e];
            expected[s].at = realloc(expected[s].at, expected[s].length + event.length);
            memcpy(expected[s].at + expected[s].length, event.at, event.length);
            expected[s].length += event.length;
        }
    }
}

int main(int count, char **arguments) {
    int connections = 1;
    double seconds = 1, rate = 0;
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value) return fprintf(stderr, "load: %s is not key=value\n", arguments[i]), 2;
        *value++ = 0;
        char *key = arguments[i];
        if (!strcmp(key, "port")) port = atoi(value);
        else if (!strcmp(key, "replies")) replies = read_replies(value);
        else if (!strcmp(key, "stream")) stream = atoi(value);
        else if (!strcmp(key, "usage")) usage = atoi(value) != 0;
        else if (!strcmp(key, "check")) by_marker = !strcmp(value, "marker");
        else if (!strcmp(key, "connections")) connections = atoi(value);
        else if (!strcmp(key, "seconds")) seconds = atof(value);
        else if (!strcmp(key, "rate")) rate = atof(value);
        else if (!strcmp(key, "request")) {
            FILE *file = fopen(value, "rb");
            if (!file) fail(value);
            request.at = malloc(1 << 26);
            request.length = fread(request.at, 1, 1 << 26, file);
            fclose(file);
        } else return fprintf(stderr, "load: unknown key %s\n", key), 2;
    }
    char *seed = memmem(request.at, request.length, "\"seed\":", 7);
    if (!seed || !replies.seeds || connections < 1 || connections > SOCKETS / 2) return fprintf(stderr, "load: bad keys\n"), 2;
    seed_at = seed + 7 - request.at;
    expect();
    epoll = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, timer, EPOLLIN, EPOLL_CTL_ADD);
    struct connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) {
        all[i].request = memcpy(malloc(request.length), request.at, request.length);
        dial(&all[i]);
    }
    int64_t started = now_ns(), until = started + (int64_t)(seconds * 1e9), due = started, now = started;
    int64_t patience = until + 60000000000LL; /* replies begun in time may end late, but not for ever */
    int busy = 0, late = 0;
    if (!rate) for (; busy < connections; busy++) begin(&all[busy], now_ns());
    while ((now < until || busy) && now < patience && errors + wrong < 1000) {
        if (rate) {
            for (int i = 0; due <= now && due < until && i < connections; i++)
                if (!all[i].busy) begin(&all[i], due), busy++, due += (int64_t)(1e9 / rate);
            late += due <= now && due < until; /* all connections were busy */
            if (due < until) wake_at(timer, due > now ? due : now + 100000);
        }
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 100);
        now = now_ns();
        for (int i = 0; i < ready; i++) {
            struct connection *c = owner[events[i].data.fd];
            if (events[i].data.fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, 8) < 0) continue;
                continue;
            }
            if (events[i].events & EPOLLOUT) {
                watch(epoll, c->fd, EPOLLIN, EPOLL_CTL_MOD);
                send_rest(c);
            }
            if (events[i].events & ~EPOLLOUT && receive(c)) {
                busy--;
                if (!rate && now < until) begin(c, now_ns()), busy++;
            }
        }
    }
    if (busy) errors += busy, snprintf(trouble, sizeof trouble, "%d replies never ended", busy);
    printf("{\"done\": %lu, \"errors\": %lu, \"wrong\": %lu, \"reconnects\": %lu, \"body_bytes\": %lu, \"late\": %d, \"seconds\": %.6f",
           done, errors, wrong, reconnects, received, late, (ended - started) / 1e9);
    print_quantiles("latency", latencies);
    print_quantiles("first_byte", firsts);
    printf(", \"trouble\": \"%s\"}\n", trouble);
}
