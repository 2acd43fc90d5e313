/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proto-client.h: a small client of the broker for tests, which can also
 * send what no proper client would.
 */
#ifndef TEST_PROTO_CLIENT_H
#define TEST_PROTO_CLIENT_H

#include <glib.h>

#include "ksm-protocol.h"

typedef struct ProtoClient {
    int fd;
    int store_fd; /* -1 before WELCOME */
    guint8 *bulk;
    guint32 serial;
    int node;           /* for HELLO; KSM_NODE_ANY at first */
    guint wakes;        /* WAKEs received */
    guint32 version;    /* for HELLO; then the one that is spoken */
    KsmEngineId engine; /* for HELLO; none: by its name */
    char *claimed;      /* the name's number is in use by this one */
    KsmMsgWelcome welcome;
} ProtoClient;

/** Any reply. */
typedef union ProtoReply {
    KsmMsg msg;
    KsmMsgWelcome welcome;
    KsmMsgError error;
    KsmMsgGroup group;
} ProtoReply;

/** Connected, but nothing said; aborts the test when that fails. */
ProtoClient *proto_client_connect(const char *socket);
void proto_client_free(ProtoClient *client);

/** The number of an engine for tests that say HELLO themselves. */
KsmEngineId proto_engine(guint64 number);

/**
 * HELLO; returns the reply, WELCOME or ERROR.  A client that has no number yet
 * gets one by its name: the same as one of that name had that is no more, but
 * another one than those who are there.
 */
ProtoReply proto_client_hello(ProtoClient *client, const char *group,
                              const char *name, guint64 pages);

/** The same with a descriptor; -1: without one. */
ProtoReply proto_client_hello_with(ProtoClient *client, const char *group,
                                   const char *name, guint64 pages, int fd);

/** Sends the HELLO alone. */
gboolean proto_client_send_hello(ProtoClient *client, const char *group,
                                 const char *name, guint64 pages, int fd);

/** Waits for the answer to a HELLO; anything but WELCOME ends the test. */
KsmMsgWelcome proto_client_welcomed(ProtoClient *client);

/** Sends any packet with so many descriptors. */
gboolean proto_client_send_fds(ProtoClient *client, gconstpointer packet,
                               gsize bytes, const int *fds, guint count);

/** Connected and welcome, or the test ends. */
ProtoClient *proto_client_new(const char *socket, const char *group,
                              const char *name, guint64 pages);

/** Sends any packet; FALSE when the socket is closed. */
gboolean proto_client_send(ProtoClient *client, gconstpointer packet,
                           gsize bytes);

/** Waits (10 s at most) for a packet; 0 at the end, else its size. */
gsize proto_client_receive(ProtoClient *client, ProtoReply *reply);

/** Sends a plain request with @count items, returns the checked reply. */
ProtoReply proto_client_request(ProtoClient *client, KsmMsgType type,
                                guint32 count);

/** The same for one item; content as proto_content() makes it. */
KsmAnswer proto_client_lookup(ProtoClient *client, guint32 page,
                              guint32 number);
/**
 * Looks up until there is a slot (10 s at most): a broker may still be filing
 * the store that it takes up.
 */
guint32 proto_client_find(ProtoClient *client, guint32 page, guint32 number);
KsmAnswer proto_client_publish(ProtoClient *client, guint32 page,
                               guint32 number, guint32 order);
void proto_client_range(ProtoClient *client, KsmMsgType type, guint32 first,
                        guint32 count);
/** RECLAIM of a range, or with @count 0 its end; OK or ERROR. */
ProtoReply proto_client_hold(ProtoClient *client, guint32 page, guint32 slot,
                             guint32 count);
KsmMsgGroup proto_client_stats(ProtoClient *client);

/** A page of content, told by a number; 0 is all zero. */
void proto_content(guint8 *page, guint32 number);
KsmFingerprint proto_fingerprint(guint32 number);

/** Aborts unless the slot, read through the descriptor, has that content. */
void proto_client_assert_slot(ProtoClient *client, guint32 slot,
                              guint32 number);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ProtoClient, proto_client_free)

#endif /* TEST_PROTO_CLIENT_H */
