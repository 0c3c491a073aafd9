/* Plays many engines towards one broker, and measures what they cost it.
 *
 * One thread, one epoll. It connects, registers, beats, and reads what it is sent; it
 * answers nothing, and counts every heartbeat that it sent whole, so that a broker's own
 * account can be held against it. What the broker uses is read from /proc.
 *
 *     load_generator --port P --http-port H --pid PID --engines N --phases LIST
 *
 *     --port P          the broker's, on 127.0.0.1; or
 *     --path NAME       its socket in the file system
 *     --http-port H     its control API, for the phase fan
 *     --pid PID         its process
 *     --engines N       how many [1000]
 *     --first K         the number that hellos name: engines that are old have large ones [0]
 *     --hello OPTIONS   of the hello, such as v=1;instance=#;ack=1, where # becomes 32 hex
 *                       digits that each engine has for itself
 *     --mix K           each Kth heartbeat carries an rtt, as a real engine's sixth does [0]
 *     --id-prefix TEXT  of the ids [engine-7d9f8b6c5]
 *     --per-source N    connections from each of 127.0.0.2, 127.0.0.3, ... [5000]
 *     --phases LIST     with commas between; or - to read one from each line of the input
 *
 * Phases: reg:herd, reg:WINDOW, hb:RATE:SECONDS, stop:ROUNDS, lad:START:FACTOR[:SECONDS],
 * fan, idle:SECONDS, mix:K, close. Each prints one line of JSON.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engines.h"
#include "phases.h"

static bool set_option(const char *name, const char *value)
{
    if (strcmp(name, "--port") == 0)
        manner.port = atoi(value);
    else if (strcmp(name, "--path") == 0)
        manner.path = value;
    else if (strcmp(name, "--http-port") == 0)
        target.http_port = atoi(value);
    else if (strcmp(name, "--pid") == 0)
        target.pid = atoi(value);
    else if (strcmp(name, "--engines") == 0)
        manner.count = atoi(value);
    else if (strcmp(name, "--first") == 0)
        manner.first = strtoull(value, NULL, 10);
    else if (strcmp(name, "--hello") == 0)
        manner.options = value;
    else if (strcmp(name, "--mix") == 0)
        manner.mix = atoi(value);
    else if (strcmp(name, "--id-prefix") == 0)
        manner.id_prefix = value;
    else if (strcmp(name, "--per-source") == 0)
        manner.per_source = atoi(value);
    else
        return false;
    return true;
}

static void run_or_exit(const char *phase)
{
    if (run_phase(phase))
        return;
    fprintf(stderr, "load_generator: no such phase, or not without a process: %s\n", phase);
    exit(2);
}

static void run_lines(FILE *input)
{
    char line[128];
    while (fgets(line, sizeof line, input)) {
        line[strcspn(line, "\n")] = 0;
        run_or_exit(line);
    }
}

int main(int argc, char **argv)
{
    const char *phases = "reg:herd,close";
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--phases") == 0) {
            phases = value;
        } else if (!set_option(argv[i], value)) {
            fprintf(stderr, "load_generator: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (manner.count < 1 || manner.per_source < 1 || (!manner.port && !manner.path)) {
        fprintf(stderr, "load_generator: needs --port or --path, and at least one engine\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prepare_engines();
    if (strcmp(phases, "-") == 0) {
        run_lines(stdin);
        return 0;
    }
    char *list = strdup(phases), *rest = list;
    for (char *phase; (phase = strsep(&rest, ","));)
        run_or_exit(phase);
    free(list);
    return 0;
}
