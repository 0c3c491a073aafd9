#define _GNU_SOURCE
#include "phases.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "engines.h"
#include "process.h"

enum {
    BEATS_AT_ONCE = 64, /* between two looks at the clock */
    DIALS_AT_ONCE = 64,
    LOOK_MS = 20,
    QUIET_LOOKS = 3, /* longer than any broker polls for */
};

/* Longest times that a phase may take, however slow the broker is. */
#define LONGEST_HERD (90 * SECOND)
#define LONGEST_FAN (30 * SECOND)
#define LONGEST_SETTLING (60 * SECOND)

/* A broker that uses less than a tenth of a CPU has nothing left to do. */
#define QUIET_NS (LOOK_MS * MILLISECOND / 10)

struct target target;
static int next_to_beat;

/* What a phase has at its beginning, to be held against its end. */
struct beginning {
    const char *phase;
    int64_t at_ns;
    long sent;
    struct usage usage, own;
};

static struct beginning begin(const char *phase)
{
    struct beginning beginning = {.phase = phase, .sent = totals.sent};
    beginning.usage = usage_of(target.pid);
    beginning.own = usage_of(getpid());
    beginning.at_ns = now_ns();
    return beginning;
}

static void print_head(const struct beginning *beginning)
{
    printf("{\"phase\": \"%s\", \"engines\": %d, \"mix\": %d", beginning->phase, manner.count,
           manner.mix);
}

/* Print what every phase has in common: the broker's costs, for each of `things`, and the
 * totals since the start. */
static void print_tail(const struct beginning *beginning, long things)
{
    struct usage before = beginning->usage, after = usage_of(target.pid);
    double cpu_us = (after.cpu_ns - before.cpu_ns) / 1e3;
    printf(", \"things\": %ld, \"cpu_ms\": %.3f, \"cpu_us_each\": %.4f", things, cpu_us / 1e3,
           things ? cpu_us / things : 0);
    /* Who waits for a CPU shares it with somebody: then the machine is not quiet. */
    printf(", \"lasted_ms\": %.3f, \"waited_ms\": %.3f, \"generator_waited_ms\": %.3f",
           (now_ns() - beginning->at_ns) / 1e6, (after.waited_ns - before.waited_ns) / 1e6,
           (usage_of(getpid()).waited_ns - beginning->own.waited_ns) / 1e6);
    printf(", \"wakes\": %ld, \"preemptions\": %ld", after.wakes - before.wakes,
           after.preemptions - before.preemptions);
    printf(", \"resident_kb_before\": %ld, \"resident_kb\": %ld", before.resident_kb,
           after.resident_kb);
    printf(", \"anonymous_kb_before\": %ld, \"anonymous_kb\": %ld", before.anonymous_kb,
           after.anonymous_kb);
    printf(", \"totals\": {\"registered\": %ld, \"refused\": %ld, \"failed\": %ld,"
           " \"lost\": %ld, \"sent\": %ld, \"acks\": %ld, \"orders\": %ld, \"pings\": %ld,"
           " \"strays\": %ld, \"retried\": %ld}}\n",
           totals.registered, totals.refused, totals.failed, totals.lost, totals.sent, totals.acks,
           totals.orders, totals.pings, totals.strays, totals.retried);
    fflush(stdout);
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Print the quantiles of times, which get sorted. */
static void print_quantiles(int64_t *times, int count)
{
    qsort(times, count, sizeof *times, compare);
    double first = 0, p50 = 0, p99 = 0, last = 0;
    if (count) {
        first = times[0] / 1e6;
        p50 = times[count / 2] / 1e6;
        p99 = times[(int)(count * 0.99)] / 1e6;
        last = times[count - 1] / 1e6;
    }
    printf(", \"first_ms\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"last_ms\": %.3f", first,
           p50, p99, last);
}

/* Wait until the broker has nothing left to do, and follow what it says meanwhile. It has
 * when its main thread sleeps and hardly uses a CPU, in several looks in a row: one that
 * wants a CPU and does not get any uses none either. Returns when it began to be so. */
static int64_t settle(void)
{
    int64_t now = now_ns(), end = now + LONGEST_SETTLING, quiet_since = now;
    int64_t used = cpu_ns_of(target.pid);
    for (int quiet = 0; target.pid && quiet < QUIET_LOOKS && now < end;) {
        int64_t next = now + LOOK_MS * MILLISECOND;
        while (now_ns() < next)
            pump(1);
        int64_t used_now = cpu_ns_of(target.pid);
        if (used_now - used < QUIET_NS && state_of(target.pid) == 'S') {
            if (!quiet++)
                quiet_since = now;
        } else {
            quiet = 0;
        }
        used = used_now;
        now = now_ns();
        if (!quiet)
            quiet_since = now;
    }
    while (pump(0) > 0)
        ;
    return quiet_since;
}

/* reg:herd connects all at once, reg:K never has more than K that are not registered. */
static bool phase_reg(const char *text)
{
    int window, dialled = 0;
    int64_t wall_ns = 0, *times;
    if (strcmp(text, "reg:herd") == 0)
        window = manner.count;
    else if (sscanf(text, "reg:%d", &window) != 1 || window < 1)
        return false;
    struct beginning beginning = begin(text);
    for (;;) {
        int settled = totals.registered + totals.failed + totals.refused;
        if (settled >= manner.count || now_ns() > beginning.at_ns + LONGEST_HERD)
            break;
        bool room = true;
        for (int k = 0; room && k < DIALS_AT_ONCE && dialled < manner.count &&
                        dialled - settled < window; k++) {
            room = dial(&engines[dialled]);
            dialled += room;
        }
        pump(dialled < manner.count && room && dialled - settled < window ? 0 : 10);
    }
    times = calloc(manner.count, sizeof *times);
    int count = 0;
    for (int i = 0; i < manner.count; i++)
        if (engines[i].state == REGISTERED) {
            times[count++] = engines[i].registered_ns - engines[i].dialled_ns;
            if (engines[i].registered_ns - beginning.at_ns > wall_ns)
                wall_ns = engines[i].registered_ns - beginning.at_ns;
        }
    settle();
    print_head(&beginning);
    printf(", \"wall_ms\": %.3f, \"rate\": %.1f", wall_ns / 1e6,
           wall_ns ? count * 1e9 / wall_ns : 0);
    print_quantiles(times, count);
    print_tail(&beginning, count);
    free(times);
    return true;
}

/* Have the next engine beat that can; false where there is none. */
static bool beat_next(void)
{
    for (int tries = 0; tries < manner.count; tries++) {
        struct engine *engine = &engines[next_to_beat];
        next_to_beat = (next_to_beat + 1) % manner.count;
        if (beat(engine))
            return true;
    }
    return false;
}

struct pace {
    double achieved;  /* heartbeats sent in a second */
    double behind_ms; /* from the last heartbeat sent to the broker's rest */
    double load;      /* share of a CPU that the broker used */
};

/* Send `rate` heartbeats in a second, one engine after the other, evenly spaced. */
static struct pace pace(double rate, double seconds, const struct beginning *beginning)
{
    long due_in_all = rate * seconds, sent = 0;
    int64_t pumped = 0, end = beginning->at_ns + (int64_t)((2 * seconds + 2) * SECOND);
    for (int64_t now = now_ns(); sent < due_in_all && now < end; now = now_ns()) {
        long due = (now - beginning->at_ns) * rate / SECOND + 1;
        if (due > due_in_all)
            due = due_in_all;
        for (int k = 0; sent < due && k < BEATS_AT_ONCE; k++) {
            if (!beat_next())
                break;
            sent++;
        }
        /* Reading seldom, and much at once, leaves the time to the sending. */
        if (now - pumped > MILLISECOND) {
            pump(0);
            pumped = now;
        }
    }
    int64_t last_ns = now_ns(), rest_ns = settle();
    struct pace pace = {
        .achieved = sent * 1e9 / (last_ns - beginning->at_ns),
        .behind_ms = rest_ns > last_ns ? (rest_ns - last_ns) / 1e6 : 0,
        .load = (cpu_ns_of(target.pid) - beginning->usage.cpu_ns) /
                (double)(rest_ns - beginning->at_ns),
    };
    return pace;
}

static bool phase_hb(const char *text)
{
    double rate, seconds;
    if (sscanf(text, "hb:%lf:%lf", &rate, &seconds) != 2 || rate <= 0 || seconds <= 0)
        return false;
    struct beginning beginning = begin(text);
    struct pace done = pace(rate, seconds, &beginning);
    print_head(&beginning);
    printf(", \"rate\": %.1f, \"achieved\": %.1f, \"behind_ms\": %.3f, \"load\": %.4f", rate,
           done.achieved, done.behind_ms, done.load);
    print_tail(&beginning, totals.sent - beginning.sent);
    return true;
}

/* Stop the broker for certain: a signal alone takes effect only some time later. */
static void stop_broker(void)
{
    kill(target.pid, SIGSTOP);
    for (int looks = 0; looks < 1000 && state_of(target.pid) != 'T'; looks++)
        usleep(1000);
}

/* stop:ROUNDS queues one heartbeat on each connection of a stopped broker and lets it go
 * on: what it then uses is the processing alone, whatever it makes of single wake-ups. */
static bool phase_stop(const char *text)
{
    int rounds;
    int64_t cpu_ns = 0, wall_ns = 0;
    if (sscanf(text, "stop:%d", &rounds) != 1 || rounds < 1 || !target.pid)
        return false;
    struct beginning beginning = begin(text);
    for (int round = 0; round < rounds; round++) {
        stop_broker();
        for (int i = 0; i < manner.count; i++)
            beat(&engines[i]);
        int64_t used = cpu_ns_of(target.pid), at_ns = now_ns();
        kill(target.pid, SIGCONT);
        wall_ns += settle() - at_ns;
        cpu_ns += cpu_ns_of(target.pid) - used;
    }
    long sent = totals.sent - beginning.sent;
    print_head(&beginning);
    printf(", \"us_per_heartbeat\": %.4f, \"wall_us_per_heartbeat\": %.4f",
           sent ? cpu_ns / 1e3 / sent : 0, sent ? wall_ns / 1e3 / sent : 0);
    print_tail(&beginning, sent);
    return true;
}

enum rung { KEPT_UP, BROKER_BEHIND, GENERATOR_BEHIND };

static enum rung climb(double rate, double seconds)
{
    struct beginning beginning = begin("lad");
    struct pace done = pace(rate, seconds, &beginning);
    if (done.behind_ms > 100 || done.load > 0.985)
        return BROKER_BEHIND;
    return done.achieved < 0.97 * rate ? GENERATOR_BEHIND : KEPT_UP;
}

/* lad:START:FACTOR[:SECONDS] raises the rate by half until the broker falls behind, or lowers
 * it until it does not, then halves the distance until it is known to within FACTOR. */
static bool phase_lad(const char *text)
{
    double start, factor, seconds = 1, best = 0, worst = 0;
    enum rung worst_rung = KEPT_UP;
    if (sscanf(text, "lad:%lf:%lf:%lf", &start, &factor, &seconds) < 2 || start <= 0 ||
        factor <= 1 || seconds <= 0)
        return false;
    struct beginning beginning = begin(text);
    for (double rate = start; rate < 1e6 && rate > 10 && (!worst || worst > factor * best);) {
        enum rung rung = climb(rate, seconds);
        if (rung == KEPT_UP) {
            best = rate;
        } else {
            worst = rate;
            worst_rung = rung;
        }
        rate = !worst ? 1.5 * best : best ? sqrt(best * worst) : worst / 1.5;
    }
    print_head(&beginning);
    printf(", \"highest_rate\": %.1f, \"too_high\": %.1f, \"limited_by\": \"%s\"", best, worst,
           worst_rung == GENERATOR_BEHIND ? "generator" : "broker");
    print_tail(&beginning, totals.sent - beginning.sent);
    return true;
}

static int ask_for_work(void)
{
    static const char request[] = "GET /dowork?time=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                  "Connection: close\r\n\r\n";
    struct sockaddr_in broker = {
        .sin_family = AF_INET,
        .sin_port = htons(target.http_port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&broker, sizeof broker) ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        perror("http");
    return fd;
}

/* fan has the broker send work to all, and times its arrival at each. */
static bool phase_fan(const char *text)
{
    long live = 0, orders = totals.orders;
    double http_ms = 0;
    char answer;
    if (!target.http_port)
        return false;
    for (int i = 0; i < manner.count; i++) {
        engines[i].ordered_ns = 0;
        live += engines[i].state == REGISTERED;
    }
    struct beginning beginning = begin(text);
    int fd = ask_for_work();
    while (totals.orders - orders < live && now_ns() < beginning.at_ns + LONGEST_FAN) {
        pump(10);
        if (!http_ms && recv(fd, &answer, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
            http_ms = (now_ns() - beginning.at_ns) / 1e6;
    }
    if (!http_ms && recv(fd, &answer, 1, 0) > 0)
        http_ms = (now_ns() - beginning.at_ns) / 1e6;
    int64_t *times = calloc(manner.count, sizeof *times);
    int count = 0;
    for (int i = 0; i < manner.count; i++)
        if (engines[i].ordered_ns)
            times[count++] = engines[i].ordered_ns - beginning.at_ns;
    settle();
    close(fd);
    print_head(&beginning);
    printf(", \"live\": %ld, \"arrived\": %d, \"http_ms\": %.3f", live, count, http_ms);
    print_quantiles(times, count);
    print_tail(&beginning, count);
    free(times);
    return true;
}

/* idle:SECONDS tells what a fleet costs that says nothing. */
static bool phase_idle(const char *text)
{
    double seconds;
    if (sscanf(text, "idle:%lf", &seconds) != 1 || seconds <= 0)
        return false;
    struct beginning beginning = begin(text);
    int64_t end = beginning.at_ns + (int64_t)(seconds * SECOND);
    while (now_ns() < end)
        pump(10);
    double load = (cpu_ns_of(target.pid) - beginning.usage.cpu_ns) / (seconds * SECOND);
    print_head(&beginning);
    printf(", \"load\": %.4f", load);
    print_tail(&beginning, 0);
    return true;
}

static bool phase_close(const char *text)
{
    long closed = 0;
    struct beginning beginning = begin(text);
    for (int i = 0; i < manner.count; i++)
        if (engines[i].fd >= 0) {
            hang_up(&engines[i]);
            closed++;
        }
    settle();
    print_head(&beginning);
    print_tail(&beginning, closed);
    return true;
}

/* mix:K is no phase: from here on each Kth heartbeat carries an rtt, as a real engine's. */
static bool set_mix(const char *text)
{
    if (sscanf(text, "mix:%d", &manner.mix) != 1)
        return false;
    struct beginning beginning = begin(text);
    print_head(&beginning);
    print_tail(&beginning, 0);
    return true;
}

bool run_phase(const char *text)
{
    static const struct {
        const char *name;
        bool (*run)(const char *);
    } phases[] = {
        {"reg:", phase_reg}, {"hb:", phase_hb},     {"stop:", phase_stop},  {"lad:", phase_lad},
        {"fan", phase_fan},  {"idle:", phase_idle}, {"close", phase_close}, {"mix:", set_mix},
    };
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
        if (strncmp(text, phases[i].name, strlen(phases[i].name)) == 0)
            return phases[i].run(text);
    return false;
}
