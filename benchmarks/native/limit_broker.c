/* The physical limit: the least that a broker of this protocol must do on this machine.
 *
 * One thread, one epoll. It frames by line end, keeps the engines by id, checks the number
 * of each heartbeat, notes when it came, and sends a command to all. It has no limits, no
 * detector, no ledger and no defence, and serves loopback alone. What any real broker
 * costs is told as a multiple of this one, measured in the same run.
 *
 *     limit_broker [--port P] [--http-port P] [--interval S] [--ack]
 *
 * A port of 0, the default, lets the system choose. It says in one line of JSON where it
 * listens, and serves GET /stats, /dowork?time=MS and /kill?code=N until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 65535, /* the system cuts it down to net.core.somaxconn */
    ACCEPTS_AT_ONCE = 256,
    EVENTS_AT_ONCE = 1024,
    READ_SIZE = 4096,
    LONGEST_FRAME = 1024,
    BUCKETS = 32768, /* a power of two */
    MOST_FILES = 1 << 20,
};

/* Kept small, and what is rare behind pointers: it is what an engine costs at least. */
struct engine {
    int fd;
    int id_length;
    int held_length;
    long last;
    int64_t seen_ns;
    struct engine *next_in_bucket;
    char *id;   /* NULL until it is registered */
    char *held; /* the beginning of a frame whose end has not come */
};

static struct engine **by_fd;
static struct engine *buckets[BUCKETS];
static bool acks;
static int interval = 60;
static struct {
    long registered, registrations, heartbeats, missed, unknown, duplicates, left;
} counts;

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

/* FNV-1a: short, and good enough for ids that differ in their last digits. */
static uint32_t bucket_of(const char *id, int length)
{
    uint32_t hash = 2166136261u;
    while (length-- > 0)
        hash = (hash ^ (uint8_t)*id++) * 16777619u;
    return hash & (BUCKETS - 1);
}

static struct engine *engine_of(const char *id, int length)
{
    struct engine *engine = buckets[bucket_of(id, length)];
    while (engine && (engine->id_length != length || memcmp(engine->id, id, length) != 0))
        engine = engine->next_in_bucket;
    return engine;
}

static void forget(struct engine *engine)
{
    struct engine **place = &buckets[bucket_of(engine->id, engine->id_length)];
    while (*place != engine)
        place = &(*place)->next_in_bucket;
    *place = engine->next_in_bucket;
    free(engine->id);
    counts.registered--;
}

static void drop(struct engine *engine)
{
    if (engine->id)
        forget(engine);
    by_fd[engine->fd] = NULL;
    close(engine->fd);
    free(engine->held);
    free(engine);
}

/* A peer that does not read loses what is sent to it: the limit keeps no queues. */
static void say(const struct engine *engine, const char *frame, int length)
{
    if (send(engine->fd, frame, length, MSG_NOSIGNAL) != length)
        counts.unknown++;
}

/* A plain hello is answered plainly. One with options is told terms, so that an engine of
 * this project takes the limit for a broker like ours and keeps its own full session. */
static void registered(struct engine *engine, bool plain)
{
    char answer[128] = "SUCCESS:Registered\n";
    if (!plain)
        snprintf(answer, sizeof answer,
                 "SUCCESS:Registered:v=1;epoch=1;interval=%d;timeout=%d;ack=%d;herd=1;boot=0\n",
                 interval, 4 * interval, acks);
    say(engine, answer, strlen(answer));
}

/* `fields` is what follows the verb: <id>:<number>, and options or nothing. */
static void hello(struct engine *engine, const char *fields, const char *end, int64_t now_ns)
{
    const char *colon = memchr(fields, ':', end - fields);
    if (!colon || engine->id) {
        counts.unknown++;
        return;
    }
    int length = colon - fields;
    if (engine_of(fields, length)) {
        char refusal[LONGEST_FRAME + 64];
        counts.duplicates++;
        say(engine, refusal,
            snprintf(refusal, sizeof refusal, "FAILLED:Duplicate Engine ID %.*s\n", length,
                     fields));
        return;
    }
    char *number_end;
    engine->id = strndup(fields, length);
    engine->id_length = length;
    engine->last = strtol(colon + 1, &number_end, 10);
    engine->seen_ns = now_ns;
    struct engine **bucket = &buckets[bucket_of(fields, length)];
    engine->next_in_bucket = *bucket;
    *bucket = engine;
    counts.registered++;
    counts.registrations++;
    registered(engine, number_end == end);
}

static void heartbeat(struct engine *engine, const char *fields, const char *end, int64_t now_ns)
{
    int length = engine->id_length;
    if (!engine->id || end - fields <= length || memcmp(fields, engine->id, length) != 0 ||
        fields[length] != ':') {
        counts.unknown++;
        return;
    }
    long number = strtol(fields + length + 1, NULL, 10);
    if (number != engine->last + 1) {
        counts.missed++;
        return;
    }
    engine->last = number;
    engine->seen_ns = now_ns;
    counts.heartbeats++;
    if (acks) {
        char ack[32];
        say(engine, ack, snprintf(ack, sizeof ack, "ACK:%ld\n", number));
    }
}

/* `frame` ends with a NUL at `end`. */
static void take(struct engine *engine, const char *frame, const char *end, int64_t now_ns)
{
    enum { VERB = sizeof "HeartBeat:" - 1 }; /* both verbs are as long */
    if (end - frame > VERB && memcmp(frame, "HeartBeat:", VERB) == 0)
        heartbeat(engine, frame + VERB, end, now_ns);
    else if (end - frame > VERB && memcmp(frame, "NewEngine:", VERB) == 0)
        hello(engine, frame + VERB, end, now_ns);
    else if (strncmp(frame, "Bye", 3) == 0)
        counts.left++;
    else
        counts.unknown++;
}

/* `data` has room for one more byte behind its end. */
static void feed(struct engine *engine, char *data, int length, int64_t now_ns)
{
    char joined[LONGEST_FRAME + READ_SIZE + 1];
    if (engine->held_length) {
        memcpy(joined, engine->held, engine->held_length);
        memcpy(joined + engine->held_length, data, length);
        length += engine->held_length;
        data = joined;
        engine->held_length = 0;
    }
    char *end;
    while ((end = memchr(data, '\n', length))) {
        *end = 0;
        take(engine, data, end, now_ns);
        length -= end + 1 - data;
        data = end + 1;
    }
    if (length) {
        if (length > LONGEST_FRAME)
            length = LONGEST_FRAME;
        engine->held = realloc(engine->held, length);
        memcpy(engine->held, data, length);
        engine->held_length = length;
    }
}

static long send_to_all(const char *command, int length)
{
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        for (struct engine *engine = buckets[bucket]; engine; engine = engine->next_in_bucket)
            say(engine, command, length);
    return counts.registered;
}

static int answer_to(const char *request, char *body, size_t size)
{
    char command[64];
    long value;
    if (sscanf(request, "GET /dowork?time=%ld", &value) == 1) {
        int length = snprintf(command, sizeof command, "DOWORK:%ld\n", value);
        return snprintf(body, size, "{\"targets\": %ld}", send_to_all(command, length));
    }
    if (sscanf(request, "GET /kill?code=%ld", &value) == 1) {
        int length = snprintf(command, sizeof command, "KILL:%ld\n", value);
        return snprintf(body, size, "{\"targets\": %ld}", send_to_all(command, length));
    }
    return snprintf(body, size,
                    "{\"registered\": %ld, \"registrations\": %ld, \"heartbeats\": %ld,"
                    " \"missed\": %ld, \"unknown\": %ld, \"duplicates\": %ld, \"left\": %ld}",
                    counts.registered, counts.registrations, counts.heartbeats, counts.missed,
                    counts.unknown, counts.duplicates, counts.left);
}

/* One request, served at once: who asks is the harness, and it waits for the answer. */
static void serve_http(int listener)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    struct timeval patience = {.tv_sec = 1};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char request[2048], body[512], response[768];
    int length = recv(client, request, sizeof request - 1, 0);
    if (length > 0) {
        request[length] = 0;
        length = answer_to(request, body, sizeof body);
        length = snprintf(response, sizeof response,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                          "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                          length, body);
        if (send(client, response, length, MSG_NOSIGNAL) != length)
            perror("http");
    }
    close(client);
}

static int listen_on(int port, int *chosen)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    socklen_t length = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* the accepted inherit it */
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
        give_up("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    *chosen = ntohs(address.sin_port);
    return fd;
}

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        give_up("epoll_ctl");
}

/* Bounded, so that a herd does not keep those waiting who have come in already. */
static void accept_some(int poll, int listener)
{
    for (int count = 0; count < ACCEPTS_AT_ONCE; count++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct engine *engine = calloc(1, sizeof *engine);
        if (!engine)
            give_up("calloc");
        engine->fd = fd;
        by_fd[fd] = engine;
        watch(poll, fd);
    }
}

static void read_from(struct engine *engine, int64_t now_ns)
{
    char data[READ_SIZE + 1];
    int length = recv(engine->fd, data, READ_SIZE, 0);
    if (length > 0)
        feed(engine, data, length, now_ns);
    else if (length == 0 || errno != EAGAIN)
        drop(engine);
}

static void serve(int engines, int http)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    watch(poll, engines);
    watch(poll, http);
    for (;;) {
        struct timespec now;
        int ready = epoll_wait(poll, events, EVENTS_AT_ONCE, -1);
        clock_gettime(CLOCK_MONOTONIC, &now);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == engines)
                accept_some(poll, engines);
            else if (fd == http)
                serve_http(http);
            else if (by_fd[fd])
                read_from(by_fd[fd], now.tv_sec * 1000000000LL + now.tv_nsec);
        }
    }
}

int main(int argc, char **argv)
{
    int port = 0, http_port = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--ack") == 0) {
            acks = true;
            continue;
        }
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(value);
        else if (strcmp(argv[i], "--http-port") == 0)
            http_port = atoi(value);
        else if (strcmp(argv[i], "--interval") == 0)
            interval = atoi(value);
        else {
            fprintf(stderr, "limit_broker: unknown option %s\n", argv[i]);
            return 2;
        }
        i++;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
    setrlimit(RLIMIT_NOFILE, &files);
    by_fd = calloc(files.rlim_cur, sizeof *by_fd);
    if (!by_fd)
        give_up("calloc");
    int engines = listen_on(port, &port), http = listen_on(http_port, &http_port);
    printf("{\"port\": %d, \"http_port\": %d}\n", port, http_port);
    fflush(stdout);
    serve(engines, http);
}
