#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_BYTES = 512, READ_BYTES = 1 << 16, SOURCES = 250 };

static int epoll;

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    exit(1);
}

uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t time_of_process(const char *pid)
{
    char path[512];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        fail("the server is gone: no process %s", pid);
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long nanoseconds = 0;
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;                   /* the thread has ended meanwhile */
        if (fscanf(file, "%llu", &nanoseconds) == 1)
            sum += nanoseconds;
        fclose(file);
    }
    closedir(tasks);
    return sum;
}

uint64_t time_on_cpu(char *pids)
{
    uint64_t sum = 0;
    char *copy = strdup(pids), *rest = copy;
    for (char *pid; (pid = strsep(&rest, ","));)
        if (*pid)
            sum += time_of_process(pid);
    free(copy);
    return sum;
}

uint8_t *room(Buffer *buffer, size_t bytes)
{
    if (buffer->end + bytes > buffer->size && buffer->start) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
    if (buffer->end + bytes > buffer->size) {
        size_t size = buffer->size ? buffer->size : FIRST_BYTES;
        while (size < buffer->end + bytes)
            size *= 2;
        if (size > BUFFER_BYTES)
            fail("a buffer would hold more than %d bytes", BUFFER_BYTES);
        buffer->bytes = realloc(buffer->bytes, size);
        if (!buffer->bytes)
            fail("out of memory");
        buffer->size = size;
    }
    return buffer->bytes + buffer->end;
}

void append(Buffer *buffer, const void *bytes, size_t count)
{
    memcpy(room(buffer, count), bytes, count);
    buffer->end += count;
}

void used(Buffer *buffer, size_t count)
{
    buffer->start += count;
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
}

void watch(int to)
{
    epoll = to;
}

static void arm(Connection *connection, int operation, int awaits_room)
{
    struct epoll_event event = {.events = EPOLLIN | (awaits_room ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->fd, &event))
        fail("epoll_ctl: %s", strerror(errno));
    connection->awaits_room = awaits_room;
}

void dial(Connection *connection, int port, int many)
{
    static unsigned next;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}, self = {.sin_family = AF_INET};
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (many) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        self.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + next++ % SOURCES);
        if (bind(fd, (struct sockaddr *)&self, sizeof self))
            fail("bind: %s", strerror(errno));
    }
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = fd;
    connection->state = CONNECTING;
    connection->since = now();
    connection->asked = connection->answered = 0;
    connection->said_goodbye = 0;
    connection->in.start = connection->in.end = connection->out.start = connection->out.end = 0;
    if (connect(fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    arm(connection, EPOLL_CTL_ADD, 1);
}

void flush(Connection *connection)
{
    Buffer *out = &connection->out;
    while (out->start < out->end) {
        ssize_t sent = send(connection->fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            fail("send: %s", strerror(errno));
        used(out, (size_t)sent);
    }
    int is_left = out->start < out->end;
    if (is_left != connection->awaits_room)
        arm(connection, EPOLL_CTL_MOD, is_left);
}

int receive(Connection *connection)
{
    uint8_t *to = room(&connection->in, READ_BYTES);
    size_t free = connection->in.size - connection->in.end;
    ssize_t got = recv(connection->fd, to, free, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 2;
    if (got < 0)
        fail("recv: %s", strerror(errno));
    connection->in.end += (size_t)got;
    return got == 0 ? 0 : (size_t)got == free ? 1 : 2;
}

void hang_up(Connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
    connection->state = CLOSED;
}
