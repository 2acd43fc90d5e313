/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* broker-client.h: the engine's side of the protocol. */
#ifndef KSM_BROKER_CLIENT_H
#define KSM_BROKER_CLIENT_H

#include "guest-ksm.h"
#include "ksm-protocol.h"

typedef struct KsmBrokerClient {
    int sock;       /* -1: not connected */
    int wake_fd;    /* eventfd: a thread waits for the engine */
    int node;       /* NUMA node of the store, or KSM_NODE_ANY */
    KsmEngineId id; /* unique to this engine */
    guint32 serial;
    guint64 requests; /* total number, for the statistics */
    gint64 hurry_us;  /* time limit while wake_fd is readable */
    guint8 *bulk;
    int store_fd; /* -1: none; kept when reconnecting */
    guint64 store_bytes;
    guint64 broker_id;
    guint64 store_id;
    guint64 max_pages;
    guint32 version; /* negotiated protocol version */
    guint refusals;  /* consecutive refusals of the store */
    gboolean woken;  /* WAKE came, and nobody has asked why */
    guint wakes;     /* since the last request */
    int refusal; /* KsmError of the last request if ERROR replied; 0: none */
    KsmAnswer reply[KSM_BATCH_LOOKUPS]; /* or KsmResult: copied */
} KsmBrokerClient;

G_STATIC_ASSERT(sizeof(KsmAnswer) == sizeof(KsmResult) &&
                KSM_BATCH_RESULTS <= KSM_BATCH_LOOKUPS &&
                KSM_BATCH_PUBLISH <= KSM_BATCH_LOOKUPS);

void ksm_broker_client_init(KsmBrokerClient *client, int wake_fd, int node);

/* Draws the engine's random number, once. */
gboolean ksm_broker_client_draw_id(KsmBrokerClient *client, GError **errp);

/*
 * Connects and sends HELLO with the client's store, if it has one.  *welcome:
 *   RESUMED  bindings from an earlier connection of this process are valid, in
 *            the store that the client has;
 *   HANDED   the store goes on, but nothing is bound: RECLAIM must follow;
 *   NEW      it is a different store, and the old one has been closed.
 * FALSE: *errp is set and the client is not connected.
 */
gboolean ksm_broker_client_connect(KsmBrokerClient *client, const char *path,
                                   const char *group, const char *name,
                                   guint64 pages, KsmWelcome *welcome,
                                   GError **errp);

/* Closes the connection; keeps the store. */
void ksm_broker_client_disconnect(KsmBrokerClient *client);
/* Closes the store, so that it is not offered to a broker again. */
void ksm_broker_client_forget_store(KsmBrokerClient *client);
/* Closes the connection and the store. */
void ksm_broker_client_close(KsmBrokerClient *client);

/* Whether brokers refused the client's store too often to offer it again. */
gboolean ksm_broker_client_store_refused(KsmBrokerClient *client);

static inline gboolean ksm_broker_client_connected(KsmBrokerClient *client)
{
    return client->sock >= 0;
}

/* Where to put the items of the next request, and the content of PUBLISH. */
static inline void *ksm_broker_client_items(KsmBrokerClient *client)
{
    return client->bulk + KSM_BULK_REQUEST;
}

static inline guint8 *ksm_broker_client_content(KsmBrokerClient *client,
                                                guint32 item)
{
    return client->bulk + KSM_BULK_CONTENT + (gsize)item * KSM_PAGE_BYTES;
}

/* The items of the last reply: a copy that the broker cannot change. */
static inline const void *ksm_broker_client_reply(KsmBrokerClient *client)
{
    return client->reply;
}

/* Whether the store has this slot. */
static inline gboolean ksm_broker_client_slot_ok(KsmBrokerClient *client,
                                                 guint32 slot)
{
    return slot <= KSM_MAX_SLOT &&
           ((guint64)slot + 1) * KSM_PAGE_BYTES <= client->store_bytes;
}

/*
 * Sends one request with `count` items in the bulk memory and receives its
 * reply; *replied is the reply's count (NULL: not wanted).  FALSE: the
 * connection is lost (it has been closed, and the reason logged).
 */
gboolean ksm_broker_client_call(KsmBrokerClient *client, KsmMsgType type,
                                guint32 count, guint32 *replied);

/* Closes the connection to a broker that sent an invalid reply; logs it. */
void ksm_broker_client_reject(KsmBrokerClient *client, const char *lie);

gboolean ksm_broker_client_resize(KsmBrokerClient *client, guint64 pages);

/* Sends the engine's statistics (fills in msg) and receives the group's. */
gboolean ksm_broker_client_stats(KsmBrokerClient *client, KsmMsgStats *stats,
                                 KsmMsgGroup *group);

/* Sends msg.count cells, which must be at ksm_broker_client_items(). */
gboolean ksm_broker_client_map(KsmBrokerClient *client, const KsmMsgMap *map);

/*
 * Asks how much CPU time the scanner may use, with `pages` yet to look at.
 * FALSE: the connection is lost; the next request finds that out, so this one
 * may be made while items for another are being prepared.
 */
gboolean ksm_broker_client_ask_cpu(KsmBrokerClient *client, guint32 pages,
                                   guint32 *cpu_us, guint32 *wait_us);

/* Whether the broker knows WAKE, sent when something waits, and CPU_TIME. */
static inline gboolean ksm_broker_client_is_woken(KsmBrokerClient *client)
{
    return client->sock >= 0 && client->version > KSM_PROTO_SILENT;
}

/*
 * Takes what the broker has sent without being asked: a WAKE, the end of the
 * connection, or what must not be, which ends the connection.
 */
void ksm_broker_client_hear(KsmBrokerClient *client);

#endif /* KSM_BROKER_CLIENT_H */
