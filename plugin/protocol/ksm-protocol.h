/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ksm-protocol.h: what engine and broker say to each other.
 *
 * A UNIX socket of type SOCK_SEQPACKET carries small fixed-size messages; one
 * packet is one message.  The client speaks, the broker answers: exactly one
 * reply for each request, in order, nothing unasked.  Arrays and page contents
 * lie in the bulk memory: a memfd that the broker made, sized and sealed
 * (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) and handed over with WELCOME.
 * The client may change it at any time, so the broker copies every item
 * before it looks at it.  A descriptor sent by a client is accepted with HELLO
 * alone, and only when it is the store of a broker that has gone.
 *
 * Pages: a client numbers its guest pages 0 .. pages - 1 over all its regions.
 * At any time a page is, for the broker, one of
 *   nothing   as at the start
 *   listed    its fingerprint stands in the unstable tree
 *   bound     it holds one reference to one slot
 * LOOKUP, PUBLISH and FETCH_RESULTS bind; only RELEASE (the page is mapped to that
 * slot no more) or the end of the process unbinds.  LOOKUP lists; WITHDRAW,
 * a new LOOKUP or a binding ends a listing.
 *
 * After a broker's end its stores live on in the clients' mappings.  A client
 * that meets another broker sends its descriptor of the old store along with
 * HELLO (connect, or connect again without it when it is refused with
 * KSM_ERROR_INVALID).  Answered KSM_WELCOME_HANDED, it says by RECLAIM which slots
 * it maps, all of them, before it asks for anything else; a RECLAIM without items
 * is the end of that.  The pages then are bound as if nothing had happened.
 *
 * An engine is known by a number of its own, KsmEngineId, drawn once when it is
 * made and said with each HELLO: what is bound belongs to that engine of that
 * process.  Names are for people; any number of engines may have the same one.
 * WELCOME repeats the number when it says that something is resumed or handed
 * over, so that the engine, too, sees that its own is meant.
 *
 * A group has a store and trees for each NUMA node that a client names with
 * HELLO, and others for those who name none: as many groups of one name,
 * between which nothing is shared.
 *
 * Versions: a VM lives for months, and meets brokers of later releases, or of
 * earlier ones where a package was upgraded under a broker that runs on.  So
 *   - HELLO has the newest version that the client speaks, WELCOME the one that
 *     both speak from then on: the client's, or the broker's own if that is
 *     older.  None of them speaks what is older than KSM_PROTO_OLDEST;
 *   - ERROR stays as it is;
 *   - a new version may add fields at the end of HELLO, WELCOME, STATS and
 *     GROUP.  HELLO has the size of the version that it names, or is longer if
 *     that version is still to come; the others have the size of the version
 *     that is spoken.  What nobody has told is 0.  Version 5 added what follows
 *     given_back and keep_huge, version 6 the engine's number and longer names;
 *   - brokers up to version 5 take a HELLO of their own size only.  A client
 *     whose HELLO is refused with KSM_ERROR_PROTOCOL connects again and says
 *     that of version 5.  Such a broker tells engines of one process apart by
 *     name and nothing else, so that name must have the engine's number in it;
 *   - a client of version 5 or older has no number.  What it had is resumed
 *     only if the descriptor that came with its HELLO is the one that was given
 *     to that very session (roster.h); else it begins anew.
 *
 * Both ends are on one machine: native byte order, and sizes are asserted.
 */
#ifndef KSM_PROTOCOL_H
#define KSM_PROTOCOL_H

#include <glib.h>
#include <stddef.h>

#include "stats-list.h"

#define KSM_PROTO_MAGIC     0x4d534b47u     /* "GKSM" */
#define KSM_PROTO_VERSION   6u
#define KSM_PROTO_OLDEST    4u              /* that is still spoken */
#define KSM_PROTO_NAMELESS  5u              /* the last without KsmEngineId */

#define KSM_GROUP_BYTES     64u             /* with its NUL */
#define KSM_NAME_BYTES      256u            /* with its NUL */
#define KSM_NAME_BYTES_5    64u             /* with its NUL, up to version 5 */
#define KSM_REASON_BYTES    128u            /* with its NUL */
#define KSM_ASIDE_BYTES     64u             /* with its NUL */
#define KSM_WINDOW_BUCKETS  16u             /* of the windows' histogram */
#define KSM_REPORT_MS       1000u           /* a client's STATS, at the least */
#define KSM_RETRY_MAX_MS   2000u           /* between attempts to come back */
#define KSM_SLOT_NONE       0xffffffffu
#define KSM_MAX_SLOT        ((1u << 30) - 1)
#define KSM_MAX_TILE_ORDER  6u              /* 64 copies */
#define KSM_NODE_ANY        -1              /* pages of all NUMA nodes */
#define KSM_MAX_NODE        1023            /* as the kernel's MAX_NUMNODES */

/* the bulk memory */
#define KSM_BATCH_LOOKUPS   2048u           /* most items of one LOOKUP */
#define KSM_BATCH_PUBLISH   256u            /* most items of one PUBLISH */
#define KSM_BATCH_RANGES    4096u           /* most of WITHDRAW and RELEASE */
#define KSM_BATCH_RECLAIMS     4096u           /* most of RECLAIM */
#define KSM_BATCH_RESULTS     2048u           /* most results of one reply */
#define KSM_BATCH_CELLS     65536u          /* most cells of a map */
#define KSM_BULK_REQUEST    0u              /* items of the request */
#define KSM_BULK_REPLY      (64u * 1024u)   /* items of the reply */
#define KSM_BULK_CONTENT    (128u * 1024u)  /* page contents of PUBLISH */
#define KSM_BULK_BYTES      (KSM_BULK_CONTENT + KSM_BATCH_PUBLISH * 4096u)

typedef enum KsmMsgType {
    KSM_MSG_HELLO = 1,          /* -> WELCOME with two descriptors */
    KSM_MSG_WELCOME = 2,
    KSM_MSG_RESIZE = 3,         /* KsmMsgResize -> OK */
    KSM_MSG_LOOKUP = 4,         /* count KsmLookup -> ANSWERS */
    KSM_MSG_PUBLISH = 5,        /* count KsmPublish + contents -> ANSWERS */
    KSM_MSG_WITHDRAW = 6,       /* count KsmRange of pages -> OK */
    KSM_MSG_RELEASE = 7,        /* count KsmRange of pages -> OK */
    KSM_MSG_FETCH_RESULTS = 8,          /* -> ANSWERS with count KsmResult */
    KSM_MSG_STATS = 9,          /* KsmMsgStats -> GROUP */
    KSM_MSG_MAP = 10,           /* KsmMsgMap + count cells of a byte -> OK */
    KSM_MSG_RECLAIM = 11,          /* count KsmReclaimRange -> OK; 0: that was all */
    KSM_MSG_OK = 32,            /* KsmMsg */
    KSM_MSG_ANSWERS = 33,       /* KsmMsg, count items in the bulk memory */
    KSM_MSG_GROUP = 34,         /* KsmMsgGroup */
    KSM_MSG_ERROR = 35,         /* KsmMsgError, then the socket is closed */
} KsmMsgType;

typedef struct KsmMsg {
    guint32 type;
    guint32 serial;             /* the reply repeats the request's */
    guint32 count;              /* items in the bulk memory */
    guint32 reserved;           /* 0 */
} KsmMsg;

/* Random, and never 0: tells an engine from all others, ever. */
typedef struct KsmEngineId {
    guint64 words[2];
} KsmEngineId;

/* With or without one descriptor: the store that the client has. */
typedef struct KsmMsgHello {
    KsmMsg msg;
    guint32 magic;
    guint32 version;            /* the newest that the client speaks */
    guint64 pages;              /* guest pages of all regions so far */
    char group[KSM_GROUP_BYTES];
    char name[KSM_NAME_BYTES_5];    /* its beginning */
    gint32 node;                /* whose store it is to be, or KSM_NODE_ANY */
    guint32 reserved;           /* 0 */
    /* since version 6 */
    KsmEngineId engine;
    char more_name[KSM_NAME_BYTES - KSM_NAME_BYTES_5];  /* if name has no NUL */
} KsmMsgHello;

typedef enum KsmWelcome {
    KSM_WELCOME_NEW = 0,        /* nothing is bound */
    KSM_WELCOME_RESUMED = 1,    /* earlier bindings of this process stand */
    KSM_WELCOME_HANDED = 2,     /* this is the store you have: RECLAIM it */
} KsmWelcome;

/* Descriptors with it: the bulk memory, the store (read-only), in this order. */
typedef struct KsmMsgWelcome {
    KsmMsg msg;
    guint32 version;            /* spoken from now on */
    guint32 outcome;            /* KsmWelcome */
    guint64 broker_id;          /* random, another one after each start */
    guint64 store_id;           /* of the group's store, unique per broker_id */
    guint64 store_bytes;        /* of all slots; the file may be longer */
    guint64 max_pages;          /* most guest pages of a session */
    /* since version 6 */
    KsmEngineId engine;         /* whose session it is: HELLO's */
} KsmMsgWelcome;

typedef struct KsmMsgResize {
    KsmMsg msg;
    guint64 pages;              /* the new number, not below the old one */
} KsmMsgResize;

typedef struct KsmMsgError {
    KsmMsg msg;
    guint32 code;               /* KsmError */
    char reason[KSM_REASON_BYTES];
} KsmMsgError;

/*
 * What a client tells of itself, for guest-ksmctl: the statistics of
 * stats-list.h, a guint64 each in the order of the list, and what else it does.
 * Sent after each round, and each KSM_REPORT_MS while there is none: that is
 * how orders come.
 */
typedef struct KsmMsgStats {
    KsmMsg msg;
    KSM_STATS_STATES(KSM_STATS_MEMBER)      /* pages by state */
    KSM_STATS_COUNTERS(KSM_STATS_MEMBER)    /* since the engine's start */
    guint64 window_us_histogram[KSM_WINDOW_BUCKETS];
    KSM_STATS_GAUGES(KSM_STATS_MEMBER)      /* now */
    gint64 general_profit;      /* bytes */
    guint32 state;              /* KsmState */
    guint32 degraded;           /* KsmDegraded */
    guint32 interval_ms;        /* in force, back-off included */
    guint32 reserved;           /* 0 */
    /* the options in force */
    guint32 run;                /* KsmRunMode */
    guint32 scan_cpu_percent;
    guint32 scan_interval_ms;
    guint32 max_mappings_set;   /* 0: automatic */
    /* the last setting that was carried out; 0: none since HELLO */
    guint32 setting_serial;
    guint32 setting_error;        /* KsmError; 0: all of it is in force */
    char setting_reason[KSM_REASON_BYTES];
    char stand_aside[KSM_ASIDE_BYTES];  /* why nothing is done; "": it is */
    /* since version 5 */
    KSM_STATS_SINCE_5(KSM_STATS_MEMBER)
    guint32 keep_huge;          /* the option */
    guint32 reserved2;          /* 0 */
} KsmMsgStats;

/* Fields of a setting. */
#define KSM_SETTING_RUN               (1u << 0)
#define KSM_SETTING_SCAN_CPU_PERCENT  (1u << 1)
#define KSM_SETTING_SCAN_INTERVAL     (1u << 2)
#define KSM_SETTING_MAX_MAPPINGS      (1u << 3)
#define KSM_SETTING_KEEP_HUGE         (1u << 4)   /* since version 5 */
#define KSM_SETTING_ALL               ((1u << 5) - 1)

/* To be carried out once for each serial, and acknowledged in STATS at once. */
typedef struct KsmSetting {
    guint32 serial;             /* 0: none */
    guint32 fields;             /* KSM_SETTING_*: those to change */
    guint32 run;                /* KsmRunMode */
    guint32 scan_cpu_percent;
    guint32 scan_interval_ms;
    guint32 max_mappings;
    guint32 keep_huge;          /* since version 5, as is the next */
    guint32 reserved;           /* 0 */
} KsmSetting;

typedef struct KsmMsgGroup {
    KsmMsg msg;
    guint64 pages_shared;       /* slots in use */
    guint64 pages_sharing;      /* pages bound to them */
    guint64 pages_unshared;     /* listed pages */
    guint64 sessions;
    guint32 results_waiting;      /* for this client */
    guint32 map_serial;         /* a MAP of that serial is wanted; 0: none */
    KsmSetting setting;           /* the last: it may grow with a version */
} KsmMsgGroup;

static inline gboolean ksm_engine_id_is_none(const KsmEngineId *id)
{
    return id->words[0] == 0 && id->words[1] == 0;
}

static inline gboolean ksm_engine_id_equal(const KsmEngineId *a,
                                           const KsmEngineId *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

/** The sizes of HELLO, WELCOME, STATS and GROUP in a version. */
static inline gsize ksm_proto_hello_bytes(guint32 version)
{
    return version >= 6 ? sizeof(KsmMsgHello) : offsetof(KsmMsgHello, engine);
}

static inline gsize ksm_proto_welcome_bytes(guint32 version)
{
    return version >= 6 ? sizeof(KsmMsgWelcome)
                        : offsetof(KsmMsgWelcome, engine);
}

static inline gsize ksm_proto_stats_bytes(guint32 version)
{
    return version >= 5 ? sizeof(KsmMsgStats)
                        : offsetof(KsmMsgStats, given_back);
}

static inline gsize ksm_proto_group_bytes(guint32 version)
{
    return version >= 5 ? sizeof(KsmMsgGroup)
                        : offsetof(KsmMsgGroup, setting.keep_huge);
}

/*
 * A map's cell stands for pages_per_cell pages in a row (fewer in the last):
 * bits 0-2 the state that most of them have, bits 3-7 how many of them have
 * it, as n / 31, at least 1.  Pages that belong to no region have KSM_MAP_NONE.
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

#define KSM_MAP_STATES      8u
#define KSM_MAP_SHARE_SHIFT 3
#define KSM_MAP_SHARE_ALL   31u

/* A map that GROUP asked for; its cells lie at KSM_BULK_REQUEST. */
typedef struct KsmMsgMap {
    KsmMsg msg;
    guint64 pages;              /* that the cells stand for, at least 1 */
    guint32 pages_per_cell;     /* a power of two */
    guint32 map_serial;
} KsmMsgMap;

typedef struct KsmFingerprint {
    guint64 hi;                 /* XXH128_hash_t.high64: the trees' key */
    guint64 lo;
} KsmFingerprint;

typedef struct KsmLookup {
    KsmFingerprint fingerprint;
    guint32 page;
    guint32 reserved;           /* 0 */
} KsmLookup;

typedef enum KsmAnswerKind {
    KSM_ANSWER_LISTED = 0,      /* your page is listed: nobody else has it, or
                                   somebody is about to publish it */
    KSM_ANSWER_SLOT = 1,        /* slot holds it, your page is bound to it */
    KSM_ANSWER_PUBLISH = 2,     /* another page has it too: publish yours */
    KSM_ANSWER_REFUSED = 3,     /* a limit, or another content of this name */
} KsmAnswerKind;

/* One for each item of LOOKUP and PUBLISH, in order. */
typedef struct KsmAnswer {
    guint32 kind;               /* KsmAnswerKind */
    guint32 slot;               /* of this very page; KSM_SLOT_NONE if none */
} KsmAnswer;

/*
 * Content i lies at KSM_BULK_CONTENT + i * 4096.  Items that follow each other
 * get slots that follow each other as far as the store has room and no content
 * is known already.  With tile_order > 0 the broker stores 1 << tile_order
 * copies in a row, and page p of a client is bound to copy
 * p % (1 << tile_order): neighbours in the guest are neighbours in the store.
 */
typedef struct KsmPublish {
    guint32 page;
    guint32 tile_order;
} KsmPublish;

typedef struct KsmRange {
    guint32 first;
    guint32 count;
} KsmRange;

/* Pages that are mapped to slots in a row. */
typedef struct KsmReclaimRange {
    guint32 page;
    guint32 slot;
    guint32 count;
} KsmReclaimRange;

/*
 * A page that was listed has been bound to a slot; or, with KSM_SLOT_NONE, is
 * listed no more and should be looked up again.
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
G_STATIC_ASSERT(sizeof(KsmResult) == 8);
G_STATIC_ASSERT(KSM_BATCH_LOOKUPS * sizeof(KsmLookup) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_RANGES * sizeof(KsmRange) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_RECLAIMS * sizeof(KsmReclaimRange) <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_CELLS <= KSM_BULK_REPLY);
G_STATIC_ASSERT(KSM_BATCH_LOOKUPS * sizeof(KsmAnswer) <=
                KSM_BULK_CONTENT - KSM_BULK_REPLY);

#endif /* KSM_PROTOCOL_H */
