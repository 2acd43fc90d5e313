/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake-broker.h: a broker that follows a test's instructions: correct by
 * default, and false where a test wants it.  A thread of the test; written from
 * ksm-protocol.h alone.
 *
 * Correct means: every page that is looked up is to be published, and each
 * published page gets the next slot.
 */
#ifndef TEST_FAKE_BROKER_H
#define TEST_FAKE_BROKER_H

#include <glib.h>

#include "ksm-protocol.h"

/* More than any test uses: a slot given out is never given out again. */
#define FAKE_BROKER_SLOTS 65536u
#define FAKE_BROKER_BYTES ((gsize)FAKE_BROKER_SLOTS * 4096)

typedef union FakeBrokerPacket {
    KsmMsg msg;
    KsmMsgHello hello;
    KsmMsgWelcome welcome;
    KsmMsgError error;
    KsmMsgGroup group;
    KsmMsgStats stats;
    KsmMsgGrant grant;
    guint8 bytes[1024];
} FakeBrokerPacket;

typedef struct FakeBroker FakeBroker;

/* What is sent for one request; a test changes it. */
typedef struct FakeBrokerReply {
    FakeBrokerPacket packet;
    gsize bytes;    /* 0: nothing is sent */
    int fds[3];     /* -1: none; owned by the fake */
    guint times;    /* how often it is sent */
    gboolean close; /* and the connection then ends */
} FakeBrokerReply;

/** Changes the reply to @request; the bulk memory holds it already. */
typedef void FakeBrokerLie(FakeBroker *fake, const FakeBrokerPacket *request,
                           FakeBrokerReply *reply);

struct FakeBroker {
    char *dir, *path;
    FakeBrokerLie *lie; /* or NULL */
    gpointer opaque;    /* for the lie */
    guint8 *store;      /* writable mapping of the store */
    int store_fd;
    guint8 *bulk; /* of the connection, or NULL */
    guint32 next_slot;
    guint pages; /* of the session, as HELLO or RESIZE said */
    /* atomic: */
    gint connections, requests, welcomes;
    gint ended; /* connections that are over */
    gint stop;
    int listen_fd;
    GThread *thread;
};

/** Listens when it returns. */
FakeBroker *fake_broker_new(FakeBrokerLie *lie);
void fake_broker_free(FakeBroker *fake);

/** Its store is as new; nobody may map it, nor be connected. */
void fake_broker_empty(FakeBroker *fake);

/** The memory file of @bytes with @flags of memfd_create() and @seals. */
int fake_broker_memfd(gsize bytes, guint flags, guint seals);

/** Where the items of a reply and of a request lie. */
static inline KsmAnswer *fake_broker_answers(FakeBroker *fake)
{
    return (KsmAnswer *)(void *)(fake->bulk + KSM_BULK_REPLY);
}

static inline KsmResult *fake_broker_hints(FakeBroker *fake)
{
    return (KsmResult *)(void *)(fake->bulk + KSM_BULK_REPLY);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(FakeBroker, fake_broker_free)

#endif /* TEST_FAKE_BROKER_H */
