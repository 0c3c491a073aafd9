/* What a process has used so far, looked at from outside, in /proc. */
#ifndef PROCESS_H
#define PROCESS_H
#include <stdint.h>

struct usage {
    int64_t cpu_ns;     /* of all its threads, by the scheduler's own account */
    int64_t waited_ns;  /* for a CPU, by all its threads: on a quiet machine next to none */
    long wakes;         /* times that a thread gave up the CPU to wait */
    long preemptions;   /* times that one was taken off it */
    long resident_kb;   /* of memory */
    long anonymous_kb;  /* of these, not backed by a file */
};

/* Look at a process; all zero where there is none of this number. */
struct usage usage_of(int pid);

/* The CPU time alone, which is cheap to ask for again and again. */
int64_t cpu_ns_of(int pid);

/* The scheduler's letter for the main thread: S sleeps, R runs or wants to, T is stopped. */
char state_of(int pid);

#endif
