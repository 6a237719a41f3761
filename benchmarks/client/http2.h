/* HTTP/2, as much of it as it takes to switch streams by extended CONNECT (RFC 8441) and to carry messages in them. */

#ifndef HTTP2_H
#define HTTP2_H

#include "net.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { PREFACE_BYTES = sizeof PREFACE - 1, FRAME_HEADER = 9 };
enum { H2_DATA, H2_HEADERS, H2_RST_STREAM = 3, H2_SETTINGS, H2_PING = 6, H2_GOAWAY, H2_WINDOW_UPDATE };
enum { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4, H2_PADDED = 8 };

typedef struct {
    int type, flags;
    uint32_t stream;
    const uint8_t *payload;
    size_t count, whole;                /* bytes of the payload, and of the frame */
} H2Frame;

int look_at_h2_frame(const Buffer *in, H2Frame *frame);         /* 0: it is not all there */
void put_h2_frame(Buffer *out, int type, int flags, uint32_t stream, const void *payload, size_t count);
void acknowledge(Buffer *out, const H2Frame *frame);            /* if it is one that wants to be */

/* A socket with streams in it. To those who ask and answer a stream is a connection like any other. */
struct Carrier {
    Connection socket;
    Connection *streams;                /* as many as there are; they have the numbers 1, 3, 5 ... */
    int count;
    int is_begun;                       /* the server has offered extended CONNECT, and it has been asked for */
    int64_t window, first_window;       /* what may be sent: on the connection, and on a new stream */
    size_t owed;                        /* bytes that have come since the server was last given credit */
};

void begin_requests(const char *path, const char *token, const char *fields);   /* the extended CONNECT; once */
void greet(Carrier *carrier);                                   /* the socket is connected */
void take_h2_frames(Carrier *carrier, void (*opened)(Connection *), void (*came)(Connection *));
void carry(Connection *stream);                                 /* `out` into frames, as the windows allow */

#endif
