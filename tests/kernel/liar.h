/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * liar.h: a broker that does what it is told to: proper by default, and false
 * where a test says so.  A thread of the test; written from ksm-protocol.h
 * alone.
 *
 * Proper means: every page looked up is to be published, each content
 * published gets the next slot.
 */
#ifndef TEST_LIAR_H
#define TEST_LIAR_H

#include <glib.h>

#include "ksm-protocol.h"

/* More than any test uses: a slot given out is never given out again. */
#define LIAR_SLOTS 65536u
#define LIAR_BYTES ((gsize)LIAR_SLOTS * 4096)

typedef union LiarPacket {
    KsmMsg msg;
    KsmMsgHello hello;
    KsmMsgWelcome welcome;
    KsmMsgError error;
    KsmMsgGroup group;
    KsmMsgStats stats;
    guint8 bytes[1024];
} LiarPacket;

typedef struct Liar Liar;

/* What is sent for one request; a test changes it. */
typedef struct LiarReply {
    LiarPacket packet;
    gsize bytes;                /* 0: nothing is sent */
    int fds[3];                 /* -1: none; owned by the liar */
    guint times;                /* how often it is sent */
    gboolean close;             /* and the connection then ends */
} LiarReply;

/** Changes the reply to @request; the bulk memory holds it already. */
typedef void LiarLie(Liar *liar, const LiarPacket *request, LiarReply *reply);

struct Liar {
    char *dir, *path;
    LiarLie *lie;               /* or NULL */
    gpointer opaque;            /* for the lie */
    guint8 *store;              /* writable mapping of the store */
    int store_fd;
    guint8 *bulk;               /* of the connection, or NULL */
    guint32 next_slot;
    guint pages;                /* of the session, as HELLO or RESIZE said */
    /* atomic: */
    gint connections, requests, welcomes;
    gint ended;                 /* connections that are over */
    gint stop;
    int listen_fd;
    GThread *thread;
};

/** Listens when it returns. */
Liar *liar_new(LiarLie *lie);
void liar_free(Liar *liar);

/** Its store is as new; nobody may map it, nor be connected. */
void liar_empty(Liar *liar);

/** The memory file of @bytes with @flags of memfd_create() and @seals. */
int liar_memfd(gsize bytes, guint flags, guint seals);

/** Where the items of a reply and of a request lie. */
static inline KsmAnswer *liar_answers(Liar *liar)
{
    return (KsmAnswer *)(void *)(liar->bulk + KSM_BULK_REPLY);
}

static inline KsmHint *liar_hints(Liar *liar)
{
    return (KsmHint *)(void *)(liar->bulk + KSM_BULK_REPLY);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Liar, liar_free)

#endif /* TEST_LIAR_H */
