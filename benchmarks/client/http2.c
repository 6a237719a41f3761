#define _GNU_SOURCE
#include "http2.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { INITIAL_WINDOW_SIZE = 4, ENABLE_CONNECT_PROTOCOL = 8, SETTING_BYTES = 6, INDEXED_200 = 0x88 };

/* Both of our windows are so large that no answer waits for credit, and credit seldom is given. */
enum { DEFAULT_WINDOW = 65535, MOST_FRAME = 16384, WINDOW = 1 << 24 };

static uint8_t request[1024];           /* the fields of the extended CONNECT */
static size_t request_bytes;

static uint32_t number_at(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    while (bytes--)
        value = value << 8 | *at++;
    return value;
}

static void write_number(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

int look_at_h2_frame(const Buffer *in, H2Frame *frame)
{
    const uint8_t *at = in->bytes + in->start;
    size_t have = in->end - in->start;
    if (have < FRAME_HEADER)
        return 0;
    *frame = (H2Frame){.type = at[3], .flags = at[4], .stream = number_at(at + 5, 4), .payload = at + FRAME_HEADER};
    frame->count = number_at(at, 3);
    frame->whole = FRAME_HEADER + frame->count;
    if (frame->count > MOST_FRAME)
        fail("HTTP/2: a frame of %zu bytes", frame->count);
    return have >= frame->whole;
}

void put_h2_frame(Buffer *out, int type, int flags, uint32_t stream, const void *payload, size_t count)
{
    uint8_t *at = room(out, FRAME_HEADER + count);
    write_number(at, (uint32_t)count << 8 | (uint32_t)type);
    at[4] = (uint8_t)flags;
    write_number(at + 5, stream);
    if (count)
        memcpy(at + FRAME_HEADER, payload, count);
    out->end += FRAME_HEADER + count;
}

void acknowledge(Buffer *out, const H2Frame *frame)
{
    if ((frame->type != H2_SETTINGS && frame->type != H2_PING) || frame->flags & H2_ACK)
        return;
    put_h2_frame(out, frame->type, H2_ACK, 0, frame->payload, frame->type == H2_PING ? frame->count : 0);
}

/* What we ask for */

static void add_field(const char *name, size_t name_bytes, const char *value, size_t value_bytes)       /* a literal */
{
    if (name_bytes > 100 || value_bytes > 100 || request_bytes + name_bytes + value_bytes + 3 > sizeof request)
        fail("a field that is too long: %.*s", (int)name_bytes, name);
    uint8_t *at = request + request_bytes;
    *at++ = 0;
    *at++ = (uint8_t)name_bytes;
    for (size_t i = 0; i < name_bytes; i++)
        *at++ = (uint8_t)tolower((unsigned char)name[i]);
    *at++ = (uint8_t)value_bytes;
    memcpy(at, value, value_bytes);
    request_bytes = (size_t)(at - request) + value_bytes;
}

void begin_requests(const char *path, const char *token, const char *fields)
{
    const char *first[][2] = {{":method", "CONNECT"}, {":protocol", token}, {":scheme", "http"}, {":path", path},
                              {":authority", "127.0.0.1"}};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        add_field(first[i][0], strlen(first[i][0]), first[i][1], strlen(first[i][1]));
    for (const char *end; (end = strstr(fields, "\r\n")); fields = end + 2) {
        const char *colon = strstr(fields, ": ");
        add_field(fields, (size_t)(colon - fields), colon + 2, (size_t)(end - colon) - 2);
    }
}

void greet(Carrier *carrier)
{
    uint8_t window[SETTING_BYTES] = {0, INITIAL_WINDOW_SIZE}, increment[4];
    write_number(window + 2, WINDOW);
    write_number(increment, WINDOW - DEFAULT_WINDOW);
    append(&carrier->socket.out, PREFACE, PREFACE_BYTES);
    put_h2_frame(&carrier->socket.out, H2_SETTINGS, 0, 0, window, sizeof window);
    put_h2_frame(&carrier->socket.out, H2_WINDOW_UPDATE, 0, 0, increment, sizeof increment);
    carrier->window = carrier->first_window = DEFAULT_WINDOW;
}

static uint32_t number_of(const Connection *stream)
{
    return (uint32_t)(stream - stream->carrier->streams) * 2 + 1;
}

static void ask_for_all(Carrier *carrier)
{
    carrier->is_begun = 1;
    for (Connection *stream = carrier->streams; stream < carrier->streams + carrier->count; stream++) {
        stream->state = ASKED;
        stream->since = now();
        stream->window = carrier->first_window;
        put_h2_frame(&carrier->socket.out, H2_HEADERS, H2_END_HEADERS, number_of(stream), request, request_bytes);
    }
}

/* What comes */

static void credit(Carrier *carrier, uint32_t number, size_t *owed, size_t count)
{
    uint8_t increment[4];
    if ((*owed += count) < WINDOW / 2)
        return;
    write_number(increment, (uint32_t)*owed);
    put_h2_frame(&carrier->socket.out, H2_WINDOW_UPDATE, 0, number, increment, sizeof increment);
    *owed = 0;
}

static void take_settings(Carrier *carrier, const H2Frame *frame)
{
    int is_offered = 0;
    for (size_t at = 0; at + SETTING_BYTES <= frame->count; at += SETTING_BYTES) {
        uint32_t key = number_at(frame->payload + at, 2), value = number_at(frame->payload + at + 2, 4);
        is_offered |= key == ENABLE_CONNECT_PROTOCOL && value == 1;
        if (key == INITIAL_WINDOW_SIZE) {
            for (int i = 0; i < carrier->count; i++)
                carrier->streams[i].window += (int64_t)value - carrier->first_window;
            carrier->first_window = value;
        }
    }
    if (!carrier->is_begun && !is_offered)
        fail("HTTP/2: no extended CONNECT is offered");
    if (!carrier->is_begun)
        ask_for_all(carrier);
}

static Connection *stream_of(Carrier *carrier, const H2Frame *frame)
{
    uint32_t index = frame->stream / 2;
    if (frame->stream % 2 == 0 || index >= (uint32_t)carrier->count)
        fail("HTTP/2: a frame of type %d for stream %u", frame->type, frame->stream);
    return &carrier->streams[index];
}

static void take_window(Carrier *carrier, const H2Frame *frame)
{
    uint32_t increment = frame->count == 4 ? number_at(frame->payload, 4) : 0;
    if (frame->stream)
        stream_of(carrier, frame)->window += increment;
    else
        carrier->window += increment;
}

static void take_data(Connection *stream, const H2Frame *frame)
{
    Carrier *carrier = stream->carrier;
    if (stream->state != OPEN || frame->flags & (H2_END_STREAM | H2_PADDED))
        fail("HTTP/2: stream %u has ended, or has padding", frame->stream);
    append(&stream->in, frame->payload, frame->count);
    credit(carrier, frame->stream, &stream->owed, frame->count);
    credit(carrier, 0, &carrier->owed, frame->count);
}

static void take_fields(Connection *stream, const H2Frame *frame)
{
    const uint8_t *at = frame->payload, *end = at + frame->count;
    while (at < end && (*at & 0xe0) == 0x20)    /* the size of the table, in one byte */
        at++;
    if (stream->state != ASKED || frame->flags != H2_END_HEADERS || at == end || *at != INDEXED_200)
        fail("HTTP/2: no 200 as expected on stream %u, but %02x", frame->stream, at < end ? (unsigned)*at : 0);
}

static void take(Carrier *carrier, const H2Frame *frame, void (*opened)(Connection *), void (*came)(Connection *))
{
    Connection *stream;
    switch (frame->type) {
    case H2_DATA:
        take_data(stream = stream_of(carrier, frame), frame);
        came(stream);
        break;
    case H2_HEADERS:
        take_fields(stream = stream_of(carrier, frame), frame);
        opened(stream);
        break;
    case H2_SETTINGS:
        acknowledge(&carrier->socket.out, frame);
        if (!(frame->flags & H2_ACK))
            take_settings(carrier, frame);
        break;
    case H2_PING: acknowledge(&carrier->socket.out, frame); break;
    case H2_WINDOW_UPDATE: take_window(carrier, frame); break;
    case H2_RST_STREAM:
    case H2_GOAWAY:
        fail("HTTP/2: a frame of type %d, for stream %u", frame->type, frame->stream);
    }
}

void take_h2_frames(Carrier *carrier, void (*opened)(Connection *), void (*came)(Connection *))
{
    for (H2Frame frame; look_at_h2_frame(&carrier->socket.in, &frame); used(&carrier->socket.in, frame.whole))
        take(carrier, &frame, opened, came);
    for (int i = 0; i < carrier->count; i++)
        carry(&carrier->streams[i]);
}

void carry(Connection *stream)
{
    Carrier *carrier = stream->carrier;
    Buffer *out = &stream->out;
    while (out->start < out->end && stream->window > 0 && carrier->window > 0) {
        int64_t room = stream->window < carrier->window ? stream->window : carrier->window;
        size_t count = out->end - out->start;
        count = count < MOST_FRAME ? count : MOST_FRAME;
        count = (int64_t)count < room ? count : (size_t)room;
        put_h2_frame(&carrier->socket.out, H2_DATA, 0, number_of(stream), out->bytes + out->start, count);
        stream->window -= (int64_t)count;
        carrier->window -= (int64_t)count;
        used(out, count);
    }
}
