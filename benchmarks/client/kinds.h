/* What a connection speaks: how it asks, and what it takes for an answer. */

#ifndef KINDS_H
#define KINDS_H

#include "net.h"

typedef struct {
    const char *name;
    const char *token;                  /* of the protocol that is asked for; NULL: it speaks from the first byte on */
    const char *fields;                 /* of the request that asks for it, */
    const char *key;                    /* and those that it has in HTTP/1.1 only */
    const char *expected;               /* what the head of the 101 must contain, whatever the case; NULL: nothing */
    void (*ask)(Connection *, uint64_t number);         /* put a request into `out` */
    int (*answer)(Connection *, uint64_t number);       /* take its answer, and only that one; 0: it is not all there */
    void (*leave)(Connection *);        /* put a farewell into `out`; NULL: there is none, the end of input says it */
    void (*opened)(Connection *, const char *head);     /* the 101 has come; NULL: nothing of it matters */
} Kind;

typedef struct {
    int port;
    const char *path;
    size_t size;                        /* of a message, in bytes */
    int is_shared;                      /* what one sends everybody gets: all messages are alike but for their number */
} Setting;

const Kind *kind_of(const char *name);  /* NULL: there is none of that name */
void prepare(const Kind *kind, const Setting *setting);

#endif
