#define _GNU_SOURCE
#include "engines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

enum { EVENTS_AT_ONCE = 512, READ_SIZE = 4096 };

#define FIRST_SOURCE 0x7f000002u /* 127.0.0.2: the broker itself has 127.0.0.1 */

struct manner manner = {
    .count = 1000,
    .per_source = 5000,
    .id_prefix = "engine-7d9f8b6c5", /* as long as the name of a pod */
    .options = "",
};
struct totals totals;
struct engine *engines;
static int poll_fd;

void prepare_engines(void)
{
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    engines = calloc(manner.count, sizeof *engines);
    if (poll_fd < 0 || !engines) {
        perror("load_generator");
        exit(1);
    }
    for (int i = 0; i < manner.count; i++)
        engines[i].fd = -1;
}

void hang_up(struct engine *engine)
{
    if (engine->fd >= 0)
        close(engine->fd);
    engine->fd = -1;
    engine->state = GONE;
}

static void fail(struct engine *engine)
{
    if (engine->state == REGISTERED)
        totals.lost++;
    else
        totals.failed++;
    hang_up(engine);
}

/* Copy the hello's options; each # becomes 32 hex digits that are this engine's own. */
static void put_options(char *to, size_t size, int number)
{
    size_t length = 0;
    for (const char *from = manner.options; *from && length + 33 < size; from++)
        if (*from == '#')
            length += snprintf(to + length, size - length, "%032x", number + 1);
        else
            to[length++] = *from;
    to[length] = 0;
}

static int hello(char *frame, size_t size, int number)
{
    char options[LONGEST_FRAME / 2];
    put_options(options, sizeof options, number);
    return snprintf(frame, size, "NewEngine:%s-%05d:%" PRIu64 "%s%s\n", manner.id_prefix, number,
                    manner.first, *options ? ":" : "", options);
}

static void greet(struct engine *engine)
{
    char frame[LONGEST_FRAME];
    int length = hello(frame, sizeof frame, engine - engines);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = engine}};
    if (send(engine->fd, frame, length, MSG_NOSIGNAL) != length) {
        fail(engine);
        return;
    }
    engine->state = GREETED;
    engine->last = engine->acknowledged = manner.first;
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, engine->fd, &event);
}

/* The kernel is to choose the port at connect, where it knows both ends: at bind it would
 * have to find one that is free towards everybody. */
static void bind_source(int fd, int number)
{
    int on = 1;
    struct sockaddr_in source = {
        .sin_family = AF_INET,
        .sin_addr = {htonl(FIRST_SOURCE + number / manner.per_source)},
    };
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        perror("bind");
}

static int connect_tcp(int fd, int number)
{
    struct sockaddr_in broker = {
        .sin_family = AF_INET,
        .sin_port = htons(manner.port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    bind_source(fd, number);
    return connect(fd, (struct sockaddr *)&broker, sizeof broker);
}

static int connect_unix(int fd)
{
    struct sockaddr_un broker = {.sun_family = AF_UNIX};
    snprintf(broker.sun_path, sizeof broker.sun_path, "%s", manner.path);
    return connect(fd, (struct sockaddr *)&broker, sizeof broker);
}

bool dial(struct engine *engine)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    if (!engine->dialled_ns)
        engine->dialled_ns = now_ns();
    engine->fd = socket(manner.path ? AF_UNIX : AF_INET, type, 0);
    if (engine->fd < 0) {
        perror("socket");
        exit(1);
    }
    int done = manner.path ? connect_unix(engine->fd) : connect_tcp(engine->fd, engine - engines);
    if (done && errno == EAGAIN) { /* a UNIX socket whose queue is full */
        close(engine->fd);
        engine->fd = -1;
        return false;
    }
    engine->state = CONNECTING;
    if (done && errno != EINPROGRESS) {
        fail(engine);
        return true;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data = {.ptr = engine}};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, engine->fd, &event);
    if (!done)
        greet(engine);
    return true;
}

bool beat(struct engine *engine)
{
    char frame[LONGEST_FRAME];
    uint64_t number = engine->last + 1;
    bool with_rtt = manner.mix && number % manner.mix == 0;
    if (engine->state != REGISTERED)
        return false;
    int length = snprintf(frame, sizeof frame, "HeartBeat:%s-%05d:%" PRIu64 "%s\n",
                          manner.id_prefix, (int)(engine - engines), number,
                          with_rtt ? ":rtt=321" : "");
    ssize_t taken = send(engine->fd, frame, length, MSG_NOSIGNAL);
    if (taken == length) {
        engine->last = number;
        totals.sent++;
        return true;
    }
    if (taken < 0 && errno == EAGAIN)
        totals.retried++;
    else
        fail(engine); /* half a frame is no heartbeat, and nothing may follow it */
    return false;
}

static bool begins(const char *frame, const char *with)
{
    return strncmp(frame, with, strlen(with)) == 0;
}

static void follow_answer(struct engine *engine, const char *frame, int64_t at_ns)
{
    if (begins(frame, "SUCCESS:Registered")) {
        engine->state = REGISTERED;
        engine->registered_ns = at_ns;
        totals.registered++;
    } else {
        if (!totals.refused++)
            fprintf(stderr, "load_generator: refused: %s\n", frame);
        hang_up(engine);
    }
}

static void follow(struct engine *engine, const char *frame, int64_t at_ns)
{
    if (engine->state == GREETED) {
        follow_answer(engine, frame, at_ns);
    } else if (begins(frame, "ACK:")) {
        uint64_t number = strtoull(frame + 4, NULL, 10);
        if (number == engine->acknowledged + 1)
            totals.acks++;
        else
            totals.strays++;
        engine->acknowledged = number;
    } else if (begins(frame, "DOWORK:") || begins(frame, "KILL:")) {
        totals.orders++;
        if (!engine->ordered_ns)
            engine->ordered_ns = at_ns;
    } else if (begins(frame, "PING")) {
        totals.pings++;
    } else {
        if (!totals.strays++)
            fprintf(stderr, "load_generator: unexpected: %s\n", frame);
    }
}

/* `data` has `length` bytes, and room for what is held before them. */
static void feed(struct engine *engine, char *data, int length, int64_t at_ns)
{
    char joined[LONGEST_FRAME + READ_SIZE];
    char *end;
    if (engine->held_length) {
        memcpy(joined, engine->held, engine->held_length);
        memcpy(joined + engine->held_length, data, length);
        length += engine->held_length;
        data = joined;
        engine->held_length = 0;
    }
    while (engine->fd >= 0 && (end = memchr(data, '\n', length))) {
        *end = 0;
        follow(engine, data, at_ns);
        length -= end + 1 - data;
        data = end + 1;
    }
    if (length > LONGEST_FRAME) {
        totals.strays++;
        length = 0;
    }
    memcpy(engine->held, data, length);
    engine->held_length = length;
}

static void connected(struct engine *engine)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(engine->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        fail(engine);
    else
        greet(engine);
}

int pump(int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    char data[READ_SIZE];
    int ready = epoll_wait(poll_fd, events, EVENTS_AT_ONCE, timeout_ms);
    for (int i = 0; i < ready; i++) {
        struct engine *engine = events[i].data.ptr;
        if (engine->fd < 0)
            continue;
        if (engine->state == CONNECTING) {
            connected(engine);
            continue;
        }
        ssize_t length = recv(engine->fd, data, sizeof data, 0);
        if (length > 0)
            feed(engine, data, length, now_ns());
        else if (length == 0 || errno != EAGAIN)
            fail(engine);
    }
    return ready;
}
