#define _GNU_SOURCE
#include "kinds.h"
#include "http2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static Setting setting;
static char request[1024];              /* of HTTP/1.1, as HTTP/2's */
static size_t request_bytes;

/* A number that no other outstanding request has, so that no answer can be taken for another's. It does not grow, or the
   faster server would have the longer numbers to add to. */
static uint64_t mark(const Connection *connection, uint64_t number)
{
    return setting.is_shared ? number : number % MOST_OUTSTANDING * MOST_CONNECTIONS + (uint64_t)connection->index;
}

static uint32_t chance(void)            /* xorshift: masks need not be secret here */
{
    static uint32_t state = 2463534242;
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

/* WebSocket */

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"         /* of RFC 6455 section 1.3, as its answer */
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define FIELDS "Sec-WebSocket-Version: 13\r\n"

enum { CONTINUATION, TEXT, BINARY, CLOSE = 8, PING, PONG, FIN = 0x80, RSV1 = 0x40, MASKED = 0x80 };
enum { MARK_BYTES = 8, MOST_HEADER_BYTES = 14 };

static uint8_t *pattern;                /* what follows the mark in a message */

static void mask(uint8_t *to, const uint8_t *from, size_t count, uint32_t key)
{
    uint64_t wide = (uint64_t)key << 32 | key;
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < count; i++)
        to[i] = from[i] ^ (uint8_t)(key >> (i % 4 * 8));
}

/* A frame whose payload is in two parts; the first has a multiple of 8 bytes, or is all. */
static void put_frame(Buffer *out, int first, const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t count = a_bytes + b_bytes;
    uint8_t *start = room(out, count + MOST_HEADER_BYTES), *at = start;
    uint32_t key = chance();
    *at++ = (uint8_t)(FIN | first);
    if (count < 126) {
        *at++ = (uint8_t)(MASKED | count);
    } else {
        int is_long = count > 0xffff;
        *at++ = MASKED | (is_long ? 127 : 126);
        for (int shift = is_long ? 56 : 8; shift >= 0; shift -= 8)
            *at++ = (uint8_t)((uint64_t)count >> shift);
    }
    memcpy(at, &key, 4);
    mask(at + 4, a, a_bytes, key);
    mask(at + 4 + a_bytes, b, b_bytes, key);
    out->end += (size_t)(at - start) + 4 + count;
}

typedef struct {
    int first;
    const uint8_t *payload;
    size_t count, whole;                /* bytes of the payload, and of the frame */
} Frame;

static int look_at_frame(const Buffer *in, Frame *frame)        /* 0: it is not all there */
{
    const uint8_t *at = in->bytes + in->start;
    size_t have = in->end - in->start, header = 2;
    if (have < 2)
        return 0;
    if (at[1] & MASKED)
        fail("a server's frame is masked");
    size_t count = at[1];
    if (count >= 126) {
        header += count == 126 ? 2 : 8;
        if (have < header)
            return 0;
        count = 0;
        for (size_t i = 2; i < header; i++)
            count = count << 8 | at[i];
        if (count > BUFFER_BYTES)
            fail("a frame of %zu bytes", count);
    }
    *frame = (Frame){.first = at[0], .payload = at + header, .count = count, .whole = header + count};
    return have >= frame->whole;
}

static void take_close(Connection *connection, const Frame *frame)
{
    int code = frame->count < 2 ? 1005 : frame->payload[0] << 8 | frame->payload[1];
    if (connection->state != LEAVING)
        fail("the server closes a WebSocket in use, with %d", code);
    connection->said_goodbye = 1;
}

/* The next frame with data; control frames before it are answered. 0: there is none yet. */
static int take_frame(Connection *connection, Frame *frame)
{
    while (look_at_frame(&connection->in, frame)) {
        int opcode = frame->first & 0x0f;
        if (opcode < CLOSE)
            return 1;
        if (opcode == PING)
            put_frame(&connection->out, PONG, frame->payload, frame->count, NULL, 0);
        if (opcode == CLOSE)
            take_close(connection, frame);
        used(&connection->in, frame->whole);
    }
    return 0;
}

static void write_mark(uint8_t *to, const Connection *connection, uint64_t number)      /* as text, in either opcode */
{
    uint64_t value = mark(connection, number);
    for (int i = 0; i < MARK_BYTES; i++)
        to[i] = (uint8_t)('a' + (value >> 4 * i & 15));
}

static size_t mark_bytes(void)
{
    return setting.size < MARK_BYTES ? setting.size : MARK_BYTES;
}

static void ask_websocket(Connection *connection, uint64_t number)
{
    uint8_t marked[MARK_BYTES];
    write_mark(marked, connection, number);
    put_frame(&connection->out, BINARY, marked, mark_bytes(), pattern, setting.size - mark_bytes());
}

static int answer_websocket(Connection *connection, uint64_t number)
{
    Frame frame;
    uint8_t marked[MARK_BYTES];
    if (!take_frame(connection, &frame))
        return 0;
    write_mark(marked, connection, number);
    if (frame.first != (FIN | BINARY) || frame.count != setting.size || memcmp(frame.payload, marked, mark_bytes())
        || memcmp(frame.payload + mark_bytes(), pattern, setting.size - mark_bytes()))
        fail("message %llu came back as another", (unsigned long long)number);
    used(&connection->in, frame.whole);
    return 1;
}

static void leave_websocket(Connection *connection)
{
    put_frame(&connection->out, CLOSE, (const uint8_t *)"\x03\xe8", 2, NULL, 0);
}

/* WebSocket with permessage-deflate */

/* Text as JSON has it: names that come again, numbers that do not. Each is compressed once, for itself, which is
   allowed whatever has been negotiated; none has 2^10 bytes before it to refer to. The server's answers are inflated as
   it likes to have them. */
enum { TEXTS = 64, TEXT_BYTES = 1024, TEXT_WINDOW_BITS = 10, TAIL_BYTES = 4 };

static uint8_t texts[TEXTS][TEXT_BYTES + 256], packed[TEXTS][2 * TEXT_BYTES];
static size_t packed_bytes[TEXTS];

static void write_text(char *to)
{
    static const char *names[] = {"Ada", "Grace", "Edsger", "Barbara", "Alan", "Frances", "Donald", "Radia"};
    int count = sprintf(to, "{\"type\":\"update\",\"items\":[");
    while (count < TEXT_BYTES)
        count += sprintf(to + count, "{\"id\":%u,\"name\":\"%s\",\"price\":%u.%02u,\"active\":%s,\"tags\":[\"%s\",\"%x\"]},",
                         chance(), names[chance() % 8], chance() % 1000, chance() % 100, chance() % 2 ? "true" : "false",
                         names[chance() % 8], chance());
    memcpy(to + TEXT_BYTES - 4, "0}]}", 4);
}

static void pack(int index)
{
    z_stream stream = {.next_in = texts[index], .avail_in = TEXT_BYTES};
    stream.next_out = packed[index];
    stream.avail_out = sizeof packed[index];
    if (deflateInit2(&stream, 6, Z_DEFLATED, -TEXT_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK
        || deflate(&stream, Z_SYNC_FLUSH) != Z_OK || stream.avail_in)
        fail("cannot compress");
    packed_bytes[index] = sizeof packed[index] - stream.avail_out - TAIL_BYTES;
    deflateEnd(&stream);
}

static void opened_deflate(Connection *connection, const char *head)
{
    if (!strcasestr(head, "\r\nSec-WebSocket-Extensions: permessage-deflate"))
        fail("the server does not compress");
    connection->forgets = strcasestr(head, "server_no_context_takeover") != NULL;
    if (!connection->inflater) {
        connection->inflater = calloc(1, sizeof *connection->inflater);
        if (!connection->inflater || inflateInit2(connection->inflater, -MAX_WBITS) != Z_OK)
            fail("out of memory");
    } else {
        inflateReset(connection->inflater);
    }
}

static size_t text_of(const Connection *connection, uint64_t number)
{
    return (number + (uint64_t)connection->index * 7) % TEXTS;
}

static void ask_deflate(Connection *connection, uint64_t number)
{
    size_t text = text_of(connection, number);
    put_frame(&connection->out, RSV1 | TEXT, packed[text], packed_bytes[text], NULL, 0);
}

static int answer_deflate(Connection *connection, uint64_t number)
{
    Frame frame;
    uint8_t plain[TEXT_BYTES + 1];
    if (!take_frame(connection, &frame))
        return 0;
    if (frame.first != (FIN | RSV1 | TEXT))
        fail("an answer that is no compressed text: it begins with %02x", (unsigned)frame.first);
    z_stream *stream = connection->inflater;
    if (connection->forgets)
        inflateReset(stream);
    stream->next_out = plain;
    stream->avail_out = sizeof plain;
    stream->next_in = (uint8_t *)frame.payload;
    stream->avail_in = (uInt)frame.count;
    int first = inflate(stream, Z_SYNC_FLUSH);
    stream->next_in = (uint8_t *)"\0\0\xff\xff";
    stream->avail_in = TAIL_BYTES;
    int second = inflate(stream, Z_SYNC_FLUSH);
    if (first != Z_OK || second != Z_OK || sizeof plain - stream->avail_out != TEXT_BYTES
        || memcmp(plain, texts[text_of(connection, number)], TEXT_BYTES))
        fail("text %llu came back as another", (unsigned long long)number);
    used(&connection->in, frame.whole);
    return 1;
}

/* ADDONE */

static void ask_addone(Connection *connection, uint64_t number)
{
    uint8_t digits[24], *at = digits + sizeof digits;
    *--at = '\n';
    for (uint64_t value = mark(connection, number) + 1; value; value /= 10)
        *--at = (uint8_t)('0' + value % 10);
    append(&connection->out, at, (size_t)(digits + sizeof digits - at));
}

static int answer_addone(Connection *connection, uint64_t number)
{
    uint8_t *start = connection->in.bytes + connection->in.start;
    uint8_t *end = memchr(start, '\n', connection->in.end - connection->in.start);
    if (!end)
        return 0;
    uint64_t value = 0;
    for (uint8_t *at = start; at < end && *at != '\r'; at++) {
        if (*at < '0' || *at > '9')
            fail("no integer: %.*s", (int)(end - start), (const char *)start);
        value = value * 10 + (uint64_t)(*at - '0');
    }
    if (value != mark(connection, number) + 2)
        fail("%llu plus one is not %llu", (unsigned long long)mark(connection, number) + 1, (unsigned long long)value);
    used(&connection->in, (size_t)(end + 1 - start));
    return 1;
}

/* HTTP/1.1 */

#define PAGE "hello\n"
#define LENGTH "\r\nContent-Length: 6\r\n"

static void ask_http(Connection *connection, uint64_t number)
{
    (void)number;
    append(&connection->out, request, request_bytes);
}

static int answer_http(Connection *connection, uint64_t number)
{
    (void)number;
    uint8_t *start = connection->in.bytes + connection->in.start;
    size_t have = connection->in.end - connection->in.start;
    uint8_t *end = memmem(start, have, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - start) + 4, whole = head + strlen(PAGE);
    if (have < whole)
        return 0;
    end[2] = 0;
    if (strncmp((char *)start, "HTTP/1.1 200", 12) || !strcasestr((char *)start, LENGTH)
        || memcmp(start + head, PAGE, strlen(PAGE)))
        fail("a page that is another: %s", (char *)start);
    used(&connection->in, whole);
    return 1;
}

/* HTTP/2, for one request: a connection that has been used and is idle then. Rates are h2load's to measure. */

static void ask_h2(Connection *connection, uint64_t number)
{
    if (number)
        fail("h2 asks once");
    append(&connection->out, PREFACE, PREFACE_BYTES);
    put_h2_frame(&connection->out, H2_SETTINGS, 0, 0, NULL, 0);
    put_h2_frame(&connection->out, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 1, request, request_bytes);
}

static int answer_h2(Connection *connection, uint64_t number)
{
    (void)number;
    int is_end = 0;
    for (H2Frame frame; !is_end && look_at_h2_frame(&connection->in, &frame); used(&connection->in, frame.whole)) {
        if (frame.type == H2_GOAWAY || frame.type == H2_RST_STREAM)
            fail("HTTP/2: a frame of type %d", frame.type);
        acknowledge(&connection->out, &frame);
        is_end = (frame.type == H2_DATA || frame.type == H2_HEADERS) && frame.flags & H2_END_STREAM;
    }
    return is_end;
}

/* All of them */

static const Kind kinds[] = {
    {"websocket", "websocket", FIELDS, KEY, ACCEPT, ask_websocket, answer_websocket, leave_websocket, NULL},
    {"deflate", "websocket", FIELDS "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", KEY,
     ACCEPT, ask_deflate, answer_deflate, leave_websocket, opened_deflate},
    {"addone", "addone", "", "", "Upgrade: addone", ask_addone, answer_addone, NULL, NULL},
    {"http", NULL, "", "", NULL, ask_http, answer_http, NULL, NULL},
    {"h2", NULL, "", "", NULL, ask_h2, answer_h2, NULL, NULL},
};

const Kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

/* Fields as RFC 7541 has them: GET, http, and as literals path and authority. */
static void prepare_h2(void)
{
    size_t path = strlen(setting.path);
    uint8_t *at = (uint8_t *)request;
    if (path > 100)
        fail("a path of more than 100 bytes");
    memcpy(at, (uint8_t[]){0x82, 0x86, 0x04, (uint8_t)path}, 4);
    memcpy(at + 4, setting.path, path);
    memcpy(at + 4 + path, "\x01\x09" "127.0.0.1", 11);
    request_bytes = 4 + path + 11;
}

void prepare(const Kind *kind, const Setting *given)
{
    setting = *given;
    if (kind->ask == ask_http)
        request_bytes = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                                         setting.path, setting.port);
    if (request_bytes >= sizeof request)
        fail("a path that is too long");
    if (kind->ask == ask_h2)
        prepare_h2();
    pattern = malloc(setting.size + 1);
    if (!pattern)
        fail("out of memory");
    for (size_t i = 0; i < setting.size; i++)
        pattern[i] = (uint8_t)('!' + i * 7 % 90);
    for (int i = 0; i < TEXTS; i++) {
        write_text((char *)texts[i]);
        pack(i);
    }
}
