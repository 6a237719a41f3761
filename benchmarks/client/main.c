/* The load client: one thread, epoll, loopback. Every answer is verified; one that is wrong ends it with status 1 and a
   sentence on standard error. What it has measured is one line of JSON on standard output.

       client -k KIND -d DEED -p PORT [options]

   Kinds: websocket, deflate, addone, http, h2 (kinds.c). Deeds:

       echo        each connection keeps OUTSTANDING requests on their way
       open        connect, upgrade, ask once, take leave; again
       pace        RATE requests a second, whether the server keeps up or not; times count from when each was due
       broadcast   one connection asks, and every connection gets the answer
       idle        connect and upgrade (http, h2: ask once), say so, and hold for SECONDS or until standard input ends

   With -m STREAMS the protocol is not asked for by Upgrade, but by extended CONNECT over HTTP/2 (http2.c): a connection is
   then a stream, and so many of them are in one socket; not for deflate, http, h2, and not to `open`.

   Nothing here is without a bound: on the seconds, the connections, the bytes of a buffer, the requests on their way. */

#define _GNU_SOURCE
#include "http2.h"
#include "kinds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20, MOST_STREAMS = 1000, AT_ONCE = 64, EVENTS = 256 };

static const uint64_t SECOND = 1000000000, PATIENCE = 20;       /* seconds more than asked for, and it gives up */

typedef enum { ECHO, OPENING, PACE, BROADCAST, IDLE } Deed;
static const char *const deeds[] = {"echo", "open", "pace", "broadcast", "idle"};

typedef enum { CONNECTS, WARMS_UP, MEASURES, ENDS } Phase;

static const Kind *kind;
static Deed deed;
static Setting setting = {.path = "/", .size = 16};
static int connections = 1, outstanding = 1, rate = 1000;
static int streams;                     /* in one socket; 0: each connection has its own */
static double seconds = 1, warm_up = 0.2;
static uint64_t most_operations = UINT64_MAX;
static char *pids = "";

static Connection *all;
static Carrier *carriers;
static int sockets;
static int begun, ready, gone;          /* sockets dialled; connections open for the first time, closed for good */
static int input_ended;                 /* standard input; looked at by `idle` alone */
static Phase phase;
static uint64_t phase_ends, measured_since, measured, cpu;     /* nanoseconds */
static uint64_t operations, bytes;      /* while it measures: answers, and how long they were */
static uint64_t asked, answered;        /* ever */

/* Times, in buckets: 64 for each power of two, so that a quantile is true to 1 in 64. */

enum { FINE_BITS = 6, BUCKETS = 64 << FINE_BITS };
static uint64_t buckets[BUCKETS];

static void note_time(uint64_t nanoseconds)
{
    int shift = nanoseconds >> FINE_BITS ? 63 - FINE_BITS - __builtin_clzll(nanoseconds) : 0;
    buckets[((uint64_t)shift << FINE_BITS) + (nanoseconds >> shift)]++;
}

static double quantile(double share)    /* in microseconds */
{
    uint64_t left = 0;
    for (int i = 0; i < BUCKETS; i++)
        left += buckets[i];
    left = (uint64_t)((double)left * (1 - share));
    for (int i = BUCKETS - 1; i > 0; i--) {
        if (buckets[i] > left) {
            int shift = i >> FINE_BITS > 1 ? (i >> FINE_BITS) - 1 : 0;
            return (double)((uint64_t)(i - (shift << FINE_BITS)) << shift) / 1000;
        }
        left -= buckets[i];
    }
    return 0;
}

/* One request, and its answer */

static void ask(Connection *connection, uint64_t due)
{
    if (connection->asked - connection->answered == (uint64_t)outstanding)
        fail("%d requests of a connection wait for an answer", outstanding);
    connection->due[connection->asked % (uint64_t)outstanding] = due;
    kind->ask(connection, connection->asked++);
    asked++;
}

static void count_answer(Connection *connection, uint64_t at, size_t count)
{
    uint64_t due = connection->due[connection->answered++ % (uint64_t)outstanding];
    answered++;
    if (phase == MEASURES) {
        operations++;
        bytes += count;
        if (deed != BROADCAST && at > due)
            note_time(at - due);
    }
}

static void push(Connection *connection)        /* what it has to say is sent */
{
    if (connection->carrier) {
        carry(connection);
        connection = &connection->carrier->socket;
    }
    flush(connection);
}

static void dial_next(void)
{
    if (begun < sockets) {
        dial(streams ? &carriers[begun].socket : &all[begun], setting.port, deed == OPENING);
        begun++;
    }
}

static int goes_on(void)
{
    return phase != ENDS && asked < most_operations;
}

static void start_phase(Phase next, double lasts)
{
    phase = next;
    phase_ends = now() + (uint64_t)(lasts * (double)SECOND);
}

/* What a deed does when a connection is open, and when answers have come */

static void begin(void)                 /* all are open */
{
    if (deed == IDLE) {
        printf("{\"connections\": %d}\n", ready);
        fflush(stdout);
        return;
    }
    start_phase(WARMS_UP, warm_up);
    if (deed == ECHO)
        for (int i = 0; i < connections; i++) {
            for (int j = 0; j < outstanding; j++)
                ask(&all[i], now());
            push(&all[i]);
        }
    if (deed == BROADCAST) {
        for (int i = 0; i < outstanding; i++)
            ask(&all[0], 0);
        push(&all[0]);
    }
}

static void count_ready(void)
{
    dial_next();
    if (++ready == connections && deed != OPENING)
        begin();
}

static void on_open(Connection *connection)
{
    connection->state = OPEN;
    if (deed == OPENING || (deed == IDLE && !kind->token)) {
        ask(connection, connection->since);
        push(connection);
    } else {
        count_ready();
    }
}

static void on_answers(Connection *connection, int count)
{
    if (deed == IDLE) {
        count_ready();
    } else if (deed == OPENING) {
        connection->state = LEAVING;
        if (kind->leave)
            kind->leave(connection);
    } else if (deed == ECHO && goes_on()) {
        for (uint64_t at = now(); count > 0; count--)
            ask(connection, at);
    } else if (deed == BROADCAST && goes_on()) {
        uint64_t done = answered / (uint64_t)connections;       /* the first one asks for all; these are theirs */
        while (all[0].asked < done + (uint64_t)outstanding && all[0].asked - all[0].answered < (uint64_t)outstanding)
            ask(&all[0], 0);
        push(&all[0]);
    }
}

static void on_end(Connection *connection)
{
    if (connection->state != LEAVING || (kind->leave && !connection->said_goodbye))
        fail("the server has closed a connection, in state %d", connection->state);
    hang_up(connection);
    if (goes_on())
        dial(connection, setting.port, 1);
    else
        gone++;
}

static void take_answers(Connection *connection)
{
    const Connection *asker = deed == BROADCAST ? &all[0] : connection;
    uint64_t at = now();
    size_t have = connection->in.end - connection->in.start;
    int count = 0;
    while (have && connection->answered < asker->asked && kind->answer(connection, connection->answered)) {
        size_t left = connection->in.end - connection->in.start;
        count_answer(connection, at, have - left);
        have = left;
        count++;
    }
    if (have && connection->answered == asker->asked && kind->answer(connection, UINT64_MAX))
        fail("an answer that nobody has asked for");    /* what may come at any time, pings and the like, is taken */
    if (count)
        on_answers(connection, count);
}

static void take_head(Connection *connection)
{
    Buffer *in = &connection->in;
    char *start = (char *)in->bytes + in->start, *end = memmem(start, in->end - in->start, "\r\n\r\n", 4);
    if (!end)
        return;
    end[2] = 0;
    if (strncmp(start, "HTTP/1.1 101", 12) || !strcasestr(start, kind->expected))
        fail("no 101 as expected: %s", start);
    if (kind->opened)
        kind->opened(connection, start);
    used(in, (size_t)(end + 4 - start));
    on_open(connection);
}

/* What epoll says */

static void connected(Connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        fail("connect: %s", strerror(error));
    if (connection->carrier) {
        connection->state = OPEN;
        greet(connection->carrier);
    } else if (kind->token) {
        char head[1024];
        int count = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
                             "Upgrade: %s\r\n%s%s\r\n", setting.path, setting.port, kind->token, kind->fields, kind->key);
        if (count >= (int)sizeof head)
            fail("a path that is too long");
        append(&connection->out, head, (size_t)count);
        connection->state = ASKED;
    } else {
        on_open(connection);
    }
    flush(connection);
}

static void readable(Connection *connection)
{
    for (int more = 1; more == 1;) {
        more = receive(connection);
        if (connection->carrier)
            take_h2_frames(connection->carrier, on_open, take_answers);
        else if (connection->state == ASKED && connection->in.end)
            take_head(connection);
        if (connection->state >= OPEN && !connection->carrier)
            take_answers(connection);
        if (!more) {
            on_end(connection);
            break;
        }
    }
    if (connection->fd >= 0 && connection->state != CONNECTING) {
        flush(connection);
        if (connection->state == LEAVING && !kind->leave && !connection->said_goodbye) {
            shutdown(connection->fd, SHUT_WR);
            connection->said_goodbye = 1;
        }
    }
}

static void happened(const struct epoll_event *event)
{
    Connection *connection = event->data.ptr;
    if (!connection) {
        char rest[64];
        input_ended = read(0, rest, sizeof rest) <= 0;
        return;
    }
    if (connection->state == CONNECTING) {
        if (event->events & (EPOLLOUT | EPOLLERR))
            connected(connection);
        return;
    }
    if (event->events & EPOLLOUT)
        flush(connection);
    if (event->events & ~(uint32_t)EPOLLOUT)
        readable(connection);
}

/* Time */

static void ask_what_is_due(void)
{
    static uint64_t since, count;
    uint64_t at = now();
    if (!since)
        since = at;
    for (;;) {
        uint64_t due = since + (uint64_t)((double)count * (double)SECOND / rate);
        if (due > at || due > phase_ends || !goes_on())
            return;
        Connection *next = &all[count++ % (uint64_t)connections];
        ask(next, due);
        push(next);
    }
}

static void look_at_the_clock(void)
{
    if (phase == WARMS_UP && now() >= phase_ends) {
        start_phase(MEASURES, seconds);
        cpu = time_on_cpu(pids);
        measured_since = now();
    } else if (phase == MEASURES && (now() >= phase_ends || !goes_on())) {
        measured = now() - measured_since;
        cpu = time_on_cpu(pids) - cpu;
        start_phase(ENDS, 1);
    }
}

static int is_over(void)
{
    if (deed == IDLE)
        return input_ended;
    if (phase != ENDS)
        return 0;
    return deed == OPENING ? gone == connections : deed == BROADCAST ? 1 : answered == asked;
}

static void run(int epoll)
{
    struct epoll_event events[EVENTS];
    uint64_t limit = now() + (uint64_t)((seconds + warm_up) * (double)SECOND) + PATIENCE * SECOND;
    if (deed == OPENING)
        start_phase(WARMS_UP, warm_up);
    for (int i = 0; i < (deed == OPENING ? connections : AT_ONCE); i++)
        dial_next();
    while (!is_over()) {
        if (now() > limit)
            fail("not over in time: %d of %d connections open, %llu of %llu requests answered", ready, connections,
                 (unsigned long long)answered, (unsigned long long)asked);
        if (deed == PACE && (phase == WARMS_UP || phase == MEASURES))
            ask_what_is_due();
        int count = epoll_wait(epoll, events, EVENTS, deed == PACE ? 0 : 20);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < count; i++)
            happened(&events[i]);
        look_at_the_clock();
    }
}

static void report(void)
{
    double lasted = (double)measured / (double)SECOND, all_operations = operations ? (double)operations : 1;
    printf("{\"operations\": %llu, \"all\": %llu, \"seconds\": %.4f, \"rate\": %.1f, \"cpu\": %.4f, \"bytes\": %.1f, "
           "\"p50\": %.1f, \"p99\": %.1f}\n",
           (unsigned long long)operations, (unsigned long long)answered, lasted, (double)operations / lasted,
           (double)cpu / all_operations / 1000, (double)bytes / all_operations, quantile(0.5), quantile(0.99));
}

static int number(const char *text, int most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > most)
        fail("%s is no number from 1 to %d", text, most);
    return (int)value;
}

static double duration(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || !(value > 0 && value <= 600))
        fail("%s is no number of seconds up to 600", text);
    return value;
}

static Deed deed_of(const char *name)
{
    for (int i = ECHO; i <= IDLE; i++)
        if (!strcmp(deeds[i], name))
            return (Deed)i;
    fail("there is no deed %s", name);
}

static void read_arguments(int count, char **arguments)
{
    for (int option; (option = getopt(count, arguments, "k:d:p:u:c:m:s:o:r:t:w:n:P:")) != -1;)
        switch (option) {
        case 'k': kind = kind_of(optarg); break;
        case 'd': deed = deed_of(optarg); break;
        case 'p': setting.port = number(optarg, 65535); break;
        case 'u': setting.path = optarg; break;                         /* the request's target */
        case 'c': connections = number(optarg, MOST_CONNECTIONS); break;
        case 'm': streams = number(optarg, MOST_STREAMS); break;
        case 's': setting.size = (size_t)number(optarg, MOST_BYTES); break;
        case 'o': outstanding = number(optarg, MOST_OUTSTANDING); break;
        case 'r': rate = number(optarg, 10000000); break;
        case 't': seconds = duration(optarg); break;                    /* that it measures */
        case 'w': warm_up = duration(optarg); break;                    /* seconds before that */
        case 'n': most_operations = (uint64_t)number(optarg, 1000000000); break;
        case 'P': pids = optarg; break;                                 /* whose time on the CPU counts: 12,34 */
        default: exit(2);
        }
    if (!kind || !setting.port)
        fail("-k needs a kind, and -p a port");
    if (streams && (!kind->token || kind->opened || deed == OPENING))
        fail("%s by extended CONNECT is not among what this client does", kind->name);
    setting.is_shared = deed == BROADCAST;
}

static void share_out(void)             /* the streams among the sockets */
{
    carriers = calloc((size_t)sockets, sizeof *carriers);
    if (!carriers)
        fail("out of memory");
    for (int i = 0; i < connections; i++) {
        Carrier *carrier = all[i].carrier = &carriers[i / streams];
        if (i % streams == 0) {
            carrier->streams = &all[i];
            carrier->socket.carrier = carrier;
        }
        carrier->count++;
    }
}

static void start(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prepare(kind, &setting);
    all = calloc((size_t)connections, sizeof *all);
    for (int i = 0; all && i < connections; i++) {
        all[i].fd = -1;
        all[i].index = i;
        all[i].due = calloc((size_t)outstanding, sizeof *all[i].due);
        if (!all[i].due)
            fail("out of memory");
    }
    if (!all)
        fail("out of memory");
    sockets = streams ? (connections + streams - 1) / streams : connections;
    if (streams) {
        begin_requests(setting.path, kind->token, kind->fields);
        share_out();
    }
}

int main(int count, char **arguments)
{
    read_arguments(count, arguments);
    start();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll_create1: %s", strerror(errno));
    watch(epoll);
    if (deed == IDLE && epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &(struct epoll_event){.events = EPOLLIN}))
        fail("standard input: %s", strerror(errno));
    run(epoll);
    if (deed != IDLE)
        report();
    return 0;
}
