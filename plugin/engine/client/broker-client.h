/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * broker-client.h: the engine's end of the protocol.
 */
#ifndef KSM_BROKER_CLIENT_H
#define KSM_BROKER_CLIENT_H

#include "guest-ksm.h"
#include "ksm-protocol.h"

typedef struct KsmBrokerClient {
    int sock;                   /* -1: not connected */
    int wake_fd;                /* eventfd: someone waits for the thread */
    int node;                   /* whose store it wants; or KSM_NODE_ANY */
    KsmEngineId id;             /* of this engine alone */
    guint32 serial;
    guint64 requests;           /* in all, for the figures */
    gint64 hurry_us;            /* to wait while wake_fd is readable */
    guint8 *bulk;
    int store_fd;               /* -1: none; kept over a reconnection */
    guint64 store_bytes;
    guint64 broker_id;
    guint64 store_id;
    guint64 max_pages;
    guint32 version;            /* of the protocol, that both speak */
    guint refusals;             /* of the store handed in, in a row */
    gboolean refused;           /* the last request: answered by ERROR */
    KsmAnswer reply[KSM_BATCH_LOOKUPS];     /* or KsmResult: a copy */
} KsmBrokerClient;

G_STATIC_ASSERT(sizeof(KsmAnswer) == sizeof(KsmResult) &&
                KSM_BATCH_RESULTS <= KSM_BATCH_LOOKUPS &&
                KSM_BATCH_PUBLISH <= KSM_BATCH_LOOKUPS);

void ksm_broker_client_init(KsmBrokerClient *client, int wake_fd, int node);

/* Draws the engine's number, once. */
gboolean ksm_broker_client_draw_id(KsmBrokerClient *client, GError **errp);

/*
 * Connects and says hello, handing in the store that the client has, if any.
 * *welcome:
 *   RESUMED  bindings from an earlier connection of this process stand, in the
 *            store that the client still has;
 *   HANDED   the store goes on, but nothing is bound: RECLAIM follows;
 *   NEW      it is another store, and the old one has been closed.
 */
gboolean ksm_broker_client_connect(KsmBrokerClient *client, const char *path,
                                   const char *group, const char *name,
                                   guint64 pages, KsmWelcome *welcome,
                                   GError **errp);

/* Closes the connection; the store stays. */
void ksm_broker_client_disconnect(KsmBrokerClient *client);
/* Closes the store: it is not handed in any more. */
void ksm_broker_client_forget_store(KsmBrokerClient *client);
/* Closes everything. */
void ksm_broker_client_close(KsmBrokerClient *client);

/* Whether the store that the client has will not be taken up any more. */
gboolean ksm_broker_client_store_refused(KsmBrokerClient *client);

static inline gboolean ksm_broker_client_connected(KsmBrokerClient *client)
{
    return client->sock >= 0;
}

/* Where the items of the next request go, and the content of PUBLISH. */
static inline void *ksm_broker_client_items(KsmBrokerClient *client)
{
    return client->bulk + KSM_BULK_REQUEST;
}

static inline guint8 *ksm_broker_client_content(KsmBrokerClient *client,
                                                guint32 item)
{
    return client->bulk + KSM_BULK_CONTENT + (gsize)item * KSM_PAGE_BYTES;
}

/* The items of the last reply, which the broker cannot change any more. */
static inline const void *ksm_broker_client_reply(KsmBrokerClient *client)
{
    return client->reply;
}

/* Whether the store has that slot at all. */
static inline gboolean ksm_broker_client_slot_ok(KsmBrokerClient *client,
                                                 guint32 slot)
{
    return slot <= KSM_MAX_SLOT &&
           ((guint64)slot + 1) * KSM_PAGE_BYTES <= client->store_bytes;
}

/*
 * One request of `count` items in the bulk memory, and its reply; *replied is
 * the reply's count (NULL: not wanted).  FALSE: the connection is lost (it has
 * been closed; the reason was logged).
 */
gboolean ksm_broker_client_call(KsmBrokerClient *client, KsmMsgType type,
                                guint32 count, guint32 *replied);

/* Ends a connection whose broker says what cannot be; logs it. */
void ksm_broker_client_reject(KsmBrokerClient *client, const char *lie);

gboolean ksm_broker_client_resize(KsmBrokerClient *client, guint64 pages);

/* Sends our figures (msg is filled in here), gets the group's. */
gboolean ksm_broker_client_stats(KsmBrokerClient *client, KsmMsgStats *stats,
                                 KsmMsgGroup *group);

/* Sends msg.count cells, which lie where items do. */
gboolean ksm_broker_client_map(KsmBrokerClient *client, const KsmMsgMap *map);

#endif /* KSM_BROKER_CLIENT_H */
