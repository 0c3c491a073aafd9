/* The engines that the generator plays: their connections, and what is said on them. */
#ifndef ENGINES_H
#define ENGINES_H
#include <stdbool.h>
#include <stdint.h>

enum { LONGEST_FRAME = 512 };

enum state { ABSENT, CONNECTING, GREETED, REGISTERED, GONE };

struct engine {
    int fd;
    enum state state;
    int held_length;
    uint64_t last;          /* number of its last heartbeat, sent or stood for by the hello */
    uint64_t acknowledged;  /* number of the last ACK */
    int64_t dialled_ns, registered_ns;
    int64_t ordered_ns; /* when a command came; 0 until then */
    char held[LONGEST_FRAME]; /* the beginning of a frame whose end has not come */
};

/* How engines are to be; set once, before the first connects. */
struct manner {
    int count;
    int port;              /* of the broker on 127.0.0.1 ... */
    const char *path;      /* ... or its socket in the file system */
    int per_source;        /* connections from each of 127.0.0.2, 127.0.0.3, ... */
    const char *id_prefix;
    const char *options;   /* of the hello; each # in it becomes the engine's instance */
    uint64_t first;        /* the number that hellos name: engines that are old have large ones */
    int mix;               /* each so many heartbeats carry an rtt; 0 for none */
};

/* What has happened since the start; never reset, so that totals can be held together. */
struct totals {
    long registered, refused, failed, lost;
    long sent;     /* heartbeats, whole frames */
    long acks;     /* ACK frames whose number was the next one */
    long orders;   /* DOWORK and KILL frames */
    long pings;
    long strays;   /* frames that nothing explains */
    long retried;  /* heartbeats for which there was no room at first */
};

extern struct manner manner;
extern struct totals totals;
extern struct engine *engines;

/* Make room for all engines; none connects yet. */
void prepare_engines(void);

/* Begin to connect one. False where the broker's listen queue is full: try again later. */
bool dial(struct engine *engine);

/* Read and follow what came for any engine; wait so many ms for the first. Returns how
 * many connections had something. */
int pump(int timeout_ms);

/* Send the next heartbeat of an engine. False where there is no room for it, or no engine. */
bool beat(struct engine *engine);

/* Close a connection in silence. */
void hang_up(struct engine *engine);

#endif
