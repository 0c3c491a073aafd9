/* The phases of a measurement, each of which prints one line of JSON. */
#ifndef PHASES_H
#define PHASES_H
#include <stdbool.h>

/* The broker's process and its HTTP port; 0 where none was named. */
struct target {
    int pid;
    int http_port;
};
extern struct target target;

/* Run the phase that `text` asks for. False where there is no such phase. */
bool run_phase(const char *text);

#endif
