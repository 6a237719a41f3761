/* What every part of the client stands on: buffers, sockets, the clock, and one way to fail. */

#ifndef NET_H
#define NET_H

#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

/* Bytes of which those from `start` to `end` are still to be used. It grows by need, up to BUFFER_BYTES. */
typedef struct {
    uint8_t *bytes;
    size_t start, end, size;
} Buffer;

enum { BUFFER_BYTES = 1 << 25 };        /* ample for 32 outstanding messages of 64 KiB, with their answers */

enum { MOST_CONNECTIONS = 16000, MOST_OUTSTANDING = 1 << 14 };

typedef enum { CLOSED, CONNECTING, ASKED, OPEN, LEAVING } State;    /* ASKED: the head is sent, the 101 is awaited */

typedef struct Carrier Carrier;         /* http2.h */

typedef struct {
    int fd, index;
    int awaits_room;                    /* epoll is armed for writing */
    int said_goodbye;                   /* the server's Close has come */
    int forgets;                        /* the server compresses each message for itself */
    State state;
    Buffer in, out;
    uint64_t asked, answered;           /* requests, and those of them that have their answer */
    uint64_t since;                     /* when it was opened */
    uint64_t *due;                      /* of each outstanding request, as a ring: from when its time counts */
    z_stream *inflater;
    Carrier *carrier;                   /* HTTP/2: of a stream, where it is; of a socket, what it is; NULL: neither */
    int64_t window;                     /* of a stream: how much may be sent, */
    size_t owed;                        /* and how much has come since the server was last given credit */
} Connection;

_Noreturn void fail(const char *format, ...);

uint64_t now(void);                                     /* nanoseconds of a clock that never goes back */
uint64_t time_on_cpu(char *pids);                       /* nanoseconds that all threads of these processes have run */

uint8_t *room(Buffer *buffer, size_t bytes);            /* where as many can be written; the caller moves `end` on */
void append(Buffer *buffer, const void *bytes, size_t count);
void used(Buffer *buffer, size_t count);

void watch(int epoll);                                  /* once, before all else */
void dial(Connection *connection, int port, int many);  /* many: from many addresses, as ports do not come back at once */
void flush(Connection *connection);                     /* send what can be sent; the rest when there is room */
int receive(Connection *connection);                    /* 0: it is over; 1: there may be more; 2: all has been read */
void hang_up(Connection *connection);

#endif
