#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Give the number behind `label` at the beginning of a line, or 0. */
static long labelled(FILE *file, const char *label)
{
    char line[256];
    size_t length = strlen(label);
    long value = 0;
    rewind(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, label, length) == 0) {
            sscanf(line + length, "%ld", &value);
            break;
        }
    return value;
}

static void add_switches(int pid, const char *thread, struct usage *usage)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    usage->wakes += labelled(file, "voluntary_ctxt_switches:");
    usage->preemptions += labelled(file, "nonvoluntary_ctxt_switches:");
    fclose(file);
}

/* The clock ticks of /proc/PID/stat are too coarse for a batch that takes milliseconds. */
static void add_times(int pid, const char *thread, struct usage *usage)
{
    char path[320];
    long long used = 0, waited = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    if (fscanf(file, "%lld %lld", &used, &waited) == 2) {
        usage->cpu_ns += used;
        usage->waited_ns += waited;
    }
    fclose(file);
}

static void add_threads(int pid, struct usage *usage, bool switches)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    if (!folder)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        add_times(pid, entry->d_name, usage);
        if (switches)
            add_switches(pid, entry->d_name, usage);
    }
    closedir(folder);
}

int64_t cpu_ns_of(int pid)
{
    struct usage usage = {0};
    add_threads(pid, &usage, false);
    return usage.cpu_ns;
}

struct usage usage_of(int pid)
{
    struct usage usage = {0};
    char path[64];
    add_threads(pid, &usage, true);
    /* Exact, where VmRSS may lack some hundred KiB that other CPUs have not added up yet. */
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        usage.resident_kb = labelled(file, "Rss:");
        usage.anonymous_kb = labelled(file, "Anonymous:");
        fclose(file);
    }
    return usage;
}

char state_of(int pid)
{
    char path[64], line[512], state = '?';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return state;
    if (fgets(line, sizeof line, file)) {
        /* The name before it may hold anything, so count from its last bracket. */
        const char *bracket = strrchr(line, ')');
        if (bracket && bracket[1] == ' ')
            state = bracket[2];
    }
    fclose(file);
    return state;
}
