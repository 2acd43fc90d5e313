/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ksm-protocol.h: the protocol between engine and broker.
 *
 * A UNIX socket of type SOCK_SEQPACKET carries small fixed-size messages; one
 * packet is one message.  The client sends requests and the broker replies:
 * exactly one reply for each request, in order.  The only unsolicited message is
 * WAKE (version 7): something waits at the broker, deferred results or what GROUP
 * says.  No second WAKE is sent before the client's next request.
 * Arrays and page content are in the bulk memory: a memfd that the broker
 * created, sized and sealed (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) and
 * sent with WELCOME.  The client may change it at any time, so the broker
 * copies every item before it examines it.  The broker accepts a descriptor
 * from a client only with HELLO, and only if it is the store of a broker that
 * has exited.
 *
 * Pages: a client numbers its guest pages 0 .. pages - 1 over all its regions.
 * For the broker, a page is at any time one of
 *   nothing   the initial state
 *   listed    its fingerprint is in the unstable tree
 *   bound     it holds one reference to one slot
 * LOOKUP, PUBLISH and FETCH_RESULTS bind.  Only RELEASE (the page no longer
 * maps that slot) or the end of the process unbinds.  LOOKUP lists; WITHDRAW,
 * a new LOOKUP or a binding ends a listing.
 *
 * After a broker exits, its stores live on in the clients' mappings.  A client
 * that connects to a different broker sends its descriptor of the old store
 * with HELLO; if the broker refuses it with KSM_ERROR_INVALID, the client
 * connects again without it.  If the reply is KSM_WELCOME_HANDED, the client
 * must send RECLAIM with all the slots that it maps before any other request;
 * a RECLAIM without items ends this.  The pages are then bound as if nothing
 * had happened.
 *
 * An engine is identified by KsmEngineId, a random number drawn once when the
 * engine is created and sent with each HELLO.  Bindings belong to that engine
 * of that process.  Names are for display; any number of engines may have the
 * same name.  WELCOME repeats the number when a session is resumed or a store
 * handed over, so that the engine can also check that it is meant.
 *
 * A group has a separate store and separate trees for each NUMA node that a
 * client names with HELLO, and another set for clients that name none.  They
 * act like separate groups of the same name, between which nothing is shared.
 *
 * Versions: a VM runs for months and connects to brokers of later releases, or
 * of earlier ones if a package was upgraded while the old broker kept running.
 * Therefore:
 *   - HELLO has the newest version that the client speaks.  WELCOME has the
 *     one that both speak from then on: the client's, or the broker's own if
 *     that is older.  Neither speaks a version older than KSM_PROTO_OLDEST;
 *   - ERROR never changes;
 *   - a new version may add fields at the end of HELLO, WELCOME, STATS and
 *     GROUP.  HELLO has the size of the version that it names, or is longer if
 *     the receiver does not know that version; the others have the size of the
 *     negotiated version.  Fields that were not sent are 0.  Version 5 added
 *     the fields after given_back and keep_huge, version 6 the engine's number
 *     and longer names.  Version 7 added WAKE and CPU_TIME, and no field;
 *   - brokers up to version 5 accept only a HELLO of their own size.  A client
 *     whose HELLO is refused with KSM_ERROR_PROTOCOL connects again with that
 *     of version 5.  Such a broker distinguishes the engines of a process only
 *     by name, so that name must contain the engine's number;
 *   - a client of version 5 or older has no number.  Its session is resumed
 *     only if the descriptor sent with its HELLO is the one that was given to
 *     that very session (roster.h); otherwise it starts with nothing bound.
 *
 * Both ends are on one machine: byte order is native, and sizes are asserted.
 */
#ifndef KSM_PROTOCOL_H
#define KSM_PROTOCOL_H

#include <glib.h>
#include <stddef.h>

#include "stats-list.h"

#define KSM_PROTO_MAGIC 0x4d534b47u /* "GKSM" */
#define KSM_PROTO_VERSION 7u
#define KSM_PROTO_OLDEST 4u   /* oldest version still spoken */
#define KSM_PROTO_NAMELESS 5u /* last without KsmEngineId */
#define KSM_PROTO_SILENT 6u   /* last without WAKE and CPU_TIME */

#define KSM_GROUP_BYTES 64u    /* with its NUL */
#define KSM_NAME_BYTES 256u    /* with its NUL */
#define KSM_NAME_BYTES_5 64u   /* with its NUL, up to version 5 */
#define KSM_REASON_BYTES 128u  /* with its NUL */
#define KSM_ASIDE_BYTES 64u    /* with its NUL */
#define KSM_WINDOW_BUCKETS 16u /* of the window histogram */
#define KSM_REPORT_MS 1000u    /* maximum interval between STATS ... */
#define KSM_REPORT_QUIET_MS \
    10000u /* ... and from version 7 on, if nothing changed */
#define KSM_RETRY_MAX_MS 2000u /* between reconnection attempts */
#define KSM_SLOT_NONE 0xffffffffu
#define KSM_MAX_SLOT ((1u << 30) - 1)
#define KSM_MAX_TILE_ORDER 6u /* 64 copies */
#define KSM_NODE_ANY -1       /* pages of all NUMA nodes */
#define KSM_MAX_NODE 1023     /* MAX_NUMNODES is at most 1024 */

/* the bulk memory */
#define KSM_BATCH_LOOKUPS 2048u         /* maximum items of LOOKUP */
#define KSM_BATCH_PUBLISH 256u          /* maximum items of PUBLISH */
#define KSM_BATCH_RANGES 4096u          /* maximum: WITHDRAW, RELEASE */
#define KSM_BATCH_RECLAIMS 4096u        /* maximum of RECLAIM */
#define KSM_BATCH_RESULTS 2048u         /* maximum results of a reply */
#define KSM_BATCH_CELLS 65536u          /* maximum cells of a map */
#define KSM_BULK_REQUEST 0u             /* items of the request */
#define KSM_BULK_REPLY (64u * 1024u)    /* items of the reply */
#define KSM_BULK_CONTENT (128u * 1024u) /* page content of PUBLISH */
#define KSM_BULK_BYTES (KSM_BULK_CONTENT + KSM_BATCH_PUBLISH * 4096u)

typedef enum KsmMsgType {
    KSM_MSG_HELLO = 1, /* -> WELCOME with two descriptors */
    KSM_MSG_WELCOME = 2,
    KSM_MSG_RESIZE = 3,        /* KsmMsgResize -> OK */
    KSM_MSG_LOOKUP = 4,        /* count KsmLookup -> ANSWERS */
    KSM_MSG_PUBLISH = 5,       /* count KsmPublish + content -> ANSWERS */
    KSM_MSG_WITHDRAW = 6,      /* count KsmRange of pages -> OK */
    KSM_MSG_RELEASE = 7,       /* count KsmRange of pages -> OK */
    KSM_MSG_FETCH_RESULTS = 8, /* -> ANSWERS with count KsmResult */
    KSM_MSG_STATS = 9,         /* KsmMsgStats -> GROUP */
    KSM_MSG_MAP = 10,          /* KsmMsgMap + count one-byte cells -> OK */
    KSM_MSG_RECLAIM = 11,      /* count KsmReclaimRange -> OK; 0: no more */
    KSM_MSG_CPU_TIME = 12,     /* count pages to look at -> GRANT */
    KSM_MSG_OK = 32,           /* KsmMsg */
    KSM_MSG_ANSWERS = 33,      /* KsmMsg, count items in the bulk memory */
    KSM_MSG_GROUP = 34,        /* KsmMsgGroup */
    KSM_MSG_ERROR = 35,        /* KsmMsgError; then the socket is closed */
    KSM_MSG_WAKE = 36,         /* KsmMsg, serial 0: unsolicited */
    KSM_MSG_GRANT = 37,        /* KsmMsgGrant */
} KsmMsgType;

typedef struct KsmMsg {
    guint32 type;
    guint32 serial;   /* the reply repeats the request's */
    guint32 count;    /* items in the bulk memory */
    guint32 reserved; /* 0 */
} KsmMsg;

/* Random and never 0; identifies an engine uniquely. */
typedef struct KsmEngineId {
    guint64 words[2];
} KsmEngineId;

/* May carry one descriptor: the store that the client has. */
typedef struct KsmMsgHello {
    KsmMsg msg;
    guint32 magic;
    guint32 version; /* newest version that the client speaks */
    guint64 pages;   /* current number of guest pages, all regions */
    char group[KSM_GROUP_BYTES];
    char name[KSM_NAME_BYTES_5]; /* the first part of the name */
    gint32 node;                 /* NUMA node of the store, or KSM_NODE_ANY */
    guint32 reserved;            /* 0 */
    /* since version 6 */
    KsmEngineId engine;
    char more_name[KSM_NAME_BYTES - KSM_NAME_BYTES_5]; /* if name has no NUL */
} KsmMsgHello;

typedef enum KsmWelcome {
    KSM_WELCOME_NEW = 0,     /* nothing is bound */
    KSM_WELCOME_RESUMED = 1, /* this process's earlier bindings are valid */
    KSM_WELCOME_HANDED = 2,  /* this is the store you sent: RECLAIM it */
} KsmWelcome;

/* Carries two descriptors, in this order: bulk memory, store (read-only). */
typedef struct KsmMsgWelcome {
    KsmMsg msg;
    guint32 version;     /* used from now on */
    guint32 outcome;     /* KsmWelcome */
    guint64 broker_id;   /* random, changes with each start */
    guint64 store_id;    /* the group's store, unique per broker_id */
    guint64 store_bytes; /* of all slots; the file may be longer */
    guint64 max_pages;   /* maximum guest pages of a session */
    /* since version 6 */
    KsmEngineId engine; /* as in HELLO: the session's engine */
} KsmMsgWelcome;

typedef struct KsmMsgResize {
    KsmMsg msg;
    guint64 pages; /* new number, not below the old one */
} KsmMsgResize;

typedef struct KsmMsgError {
    KsmMsg msg;
    guint32 code; /* KsmError */
    char reason[KSM_REASON_BYTES];
} KsmMsgError;

/*
 * A client's report for guest-ksmctl: the statistics of stats-list.h, one
 * guint64 each in the order of the list, then state and options.  Sent after
 * each round, and every KSM_REPORT_MS between rounds, because changed settings
 * arrive with the reply; from version 7 on, while nothing changes, only every
 * KSM_REPORT_QUIET_MS and after WAKE.
 */
typedef struct KsmMsgStats {
    KsmMsg msg;
    KSM_STATS_STATES(KSM_STATS_MEMBER)   /* pages by state */
    KSM_STATS_COUNTERS(KSM_STATS_MEMBER) /* since the engine's start */
    guint64 window_us_histogram[KSM_WINDOW_BUCKETS];
    KSM_STATS_GAUGES(KSM_STATS_MEMBER) /* now */
    gint64 general_profit;             /* bytes */
    guint32 state;                     /* KsmState */
    guint32 degraded;                  /* KsmDegraded */
    guint32 interval_ms;               /* in force, including back-off */
    guint32 reserved;                  /* 0 */
    /* the options in force */
    guint32 run; /* KsmRunMode */
    guint32 scan_cpu_percent;
    guint32 scan_interval_ms;
    guint32 max_mappings_set; /* 0: automatic */
    /* the last setting carried out; 0: none since HELLO */
    guint32 setting_serial;
    guint32 setting_error; /* KsmError; 0: fully in force */
    char setting_reason[KSM_REASON_BYTES];
    char stand_aside[KSM_ASIDE_BYTES]; /* its reason; "": none */
    /* since version 5 */
    KSM_STATS_SINCE_5(KSM_STATS_MEMBER)
    guint32 keep_huge; /* the option */
    guint32 reserved2; /* 0 */
} KsmMsgStats;

/* Fields of a setting. */
#define KSM_SETTING_RUN (1u << 0)
#define KSM_SETTING_SCAN_CPU_PERCENT (1u << 1)
#define KSM_SETTING_SCAN_INTERVAL (1u << 2)
#define KSM_SETTING_MAX_MAPPINGS (1u << 3)
#define KSM_SETTING_KEEP_HUGE (1u << 4) /* since version 5 */
#define KSM_SETTING_ALL ((1u << 5) - 1)

/* Carry out once for each serial, and acknowledge in STATS immediately. */
typedef struct KsmSetting {
    guint32 serial; /* 0: none */
    guint32 fields; /* KSM_SETTING_*: what to change */
    guint32 run;    /* KsmRunMode */
    guint32 scan_cpu_percent;
    guint32 scan_interval_ms;
    guint32 max_mappings;
    guint32 keep_huge; /* since version 5, with the next field */
    guint32 reserved;  /* 0 */
} KsmSetting;

typedef struct KsmMsgGroup {
    KsmMsg msg;
    guint64 pages_shared;   /* slots in use */
    guint64 pages_sharing;  /* pages bound to them */
    guint64 pages_unshared; /* listed pages */
    guint64 sessions;
    guint32 results_waiting; /* for this client */
    guint32 map_serial;      /* send a MAP with this serial; 0: none */
    KsmSetting setting;      /* the last field: a version may extend it */
} KsmMsgGroup;

/*
 * CPU time that the scanner may use, which the client asks for when it has used
 * the last grant.  The broker so keeps all scanners together to a limit.
 */
typedef struct KsmMsgGrant {
    KsmMsg msg;
    guint32 cpu_us;  /* may be 0 */
    guint32 wait_us; /* there is no more before that time has passed */
} KsmMsgGrant;

static inline gboolean ksm_engine_id_is_none(const KsmEngineId *id)
{
    return id->words[0] == 0 && id->words[1] == 0;
}

static inline gboolean ksm_engine_id_equal(const KsmEngineId *a,
                                           const KsmEngineId *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/** Sizes of HELLO, WELCOME, STATS and GROUP in a version, in bytes. */
static inline gsize ksm_proto_hello_bytes(guint32 version)
{
    return version >= 6 ? sizeof(KsmMsgHello) : offsetof(KsmMsgHello, engine);
}

static inline gsize ksm_proto_welcome_bytes(guint32 version)
{
    return version >= 6 ? sizeof(KsmMsgWelcome) :
                          offsetof(KsmMsgWelcome, engine);
}

static inline gsize ksm_proto_stats_bytes(guint32 version)
{
    return version >= 5 ? sizeof(KsmMsgStats) :
                          offsetof(KsmMsgStats, given_back);
}

static inline gsize ksm_proto_group_bytes(guint32 version)
{
    return version >= 5 ? sizeof(KsmMsgGroup) :
                          offsetof(KsmMsgGroup, setting.keep_huge);
}

/*
 * A map cell represents pages_per_cell consecutive pages (the last cell may
 * have fewer).  Bits 0-2 are the most frequent state of these pages; bits 3-7
 * are the share of the pages in that state, as n / 31, at least 1.  Pages that
 * belong to no region have KSM_MAP_NONE.
 */
typedef enum KsmMapState {
    KSM_MAP_UNTOUCHED = 0,
    KSM_MAP_PRIVATE = 1,
    KSM_MAP_CANDIDATE = 2,
    KSM_MAP_ZERO = 3,
    KSM_MAP_SHARED = 4,
    KSM_MAP_BROKEN = 5,
    KSM_MAP_EXCLUDED = 6,
    KSM_MAP_NONE = 7,
} KsmMapState;

#define KSM_MAP_STATES 8u
#define KSM_MAP_SHARE_SHIFT 3
#define KSM_MAP_SHARE_ALL 31u

/* A map that GROUP requested; its cells are at KSM_BULK_REQUEST. */
typedef struct KsmMsgMap {
    KsmMsg msg;
    guint64 pages;          /* represented by the cells, at least 1 */
    guint32 pages_per_cell; /* a power of two */
    guint32 map_serial;
} KsmMsgMap;

typedef struct KsmFingerprint {
    guint64 hi; /* XXH128_hash_t.high64: the trees' key */
    guint64 lo;
} KsmFingerprint;

typedef struct KsmLookup {
    KsmFingerprint fingerprint;
    guint32 page;
    guint32 reserved; /* 0 */
} KsmLookup;

typedef enum KsmAnswerKind {
    KSM_ANSWER_LISTED = 0,  /* the page is listed: no other page has this
                                   content, or another is about to be
                                   published */
    KSM_ANSWER_SLOT = 1,    /* a slot has it; the page is bound to it */
    KSM_ANSWER_PUBLISH = 2, /* another page has it too: publish yours */
    KSM_ANSWER_REFUSED = 3, /* a limit, or a different page with this
                                   fingerprint */
} KsmAnswerKind;

/* One for each item of LOOKUP and PUBLISH, in order. */
typedef struct KsmAnswer {
    guint32 kind; /* KsmAnswerKind */
    guint32 slot; /* of this item's page, or KSM_SLOT_NONE */
} KsmAnswer;

/*
 * The content of item i is at KSM_BULK_CONTENT + i * 4096.  Consecutive items
 * get consecutive slots if the store has room and none of the content is
 * already known.  With tile_order > 0 the broker stores 1 << tile_order
 * consecutive copies, and page p of a client is bound to copy p % (1 <<
 * tile_order), so that neighbours in the guest are neighbours in the store.
 */
typedef struct KsmPublish {
    guint32 page;
    guint32 tile_order;
} KsmPublish;

typedef struct KsmRange {
    guint32 first;
    guint32 count;
} KsmRange;

/* Pages that map consecutive slots. */
typedef struct KsmReclaimRange {
    guint32 page;
    guint32 slot;
    guint32 count;
} KsmReclaimRange;

/*
 * A listed page has been bound to a slot; or, with KSM_SLOT_NONE, is no longer
 * listed and should be looked up again.
 */
typedef struct KsmResult {
    guint32 page;
    guint32 slot;
} KsmResult;

G_STATIC_ASSERT(sizeof(KsmMsg) == 16);
G_STATIC_ASSERT(sizeof(KsmMsgHello) == 376);
G_STATIC_ASSERT(offsetof(KsmMsgHello, engine) == 168);
G_STATIC_ASSERT(sizeof(KsmMsgWelcome) == 72);
G_STATIC_ASSERT(offsetof(KsmMsgWelcome, engine) == 56);
G_STATIC_ASSERT(sizeof(KsmMsgResize) == 24);
G_STATIC_ASSERT(sizeof(KsmMsgError) == 148);
G_STATIC_ASSERT(sizeof(KsmMsgStats) == 704);
G_STATIC_ASSERT(offsetof(KsmMsgStats, full_scans) == 80);
G_STATIC_ASSERT(offsetof(KsmMsgStats, window_us_histogram) == 240);
G_STATIC_ASSERT(offsetof(KsmMsgStats, general_profit) == 408);
G_STATIC_ASSERT(offsetof(KsmMsgStats, given_back) == 648);
G_STATIC_ASSERT(offsetof(KsmMsgStats, keep_huge) == 696);
G_STATIC_ASSERT(sizeof(KsmSetting) == 32);
G_STATIC_ASSERT(sizeof(KsmMsgGroup) == 88);
G_STATIC_ASSERT(offsetof(KsmMsgGroup, setting.keep_huge) == 80);
G_STATIC_ASSERT(sizeof(KsmMsgMap) == 32);
G_STATIC_ASSERT(sizeof(KsmLookup) == 24);
G_STATIC_ASSERT(sizeof(KsmAnswer) == 8);
G_STATIC_ASSERT(sizeof(KsmPublish) == 8);
G_STATIC_ASSERT(sizeof(KsmRange) == 8);
G_STATIC_ASSERT(sizeof(KsmReclaimRange) == 12);
G_STATIC_ASSERT(sizeof(KsmMsgGrant) == 24);
G_STATIC_ASSERT(sizeof(KsmResult) == 8);
G_STATIC_ASSERT(KSM_BATCH_LOOKUPS * sizeof(KsmLookup) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_RANGES * sizeof(KsmRange) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_RECLAIMS * sizeof(KsmReclaimRange) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_CELLS <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_LOOKUPS * sizeof(KsmAnswer) <=
                KSM_BULK_CONTENT - KSM_BULK_REPLY);

#endif /* KSM_PROTOCOL_H */
