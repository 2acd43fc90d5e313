/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h: everything one broker has: groups, users, processes, sessions, and
 * the limits over all of them; who works on it, and how, is in the other
 * headers.
 *
 * One thread, the one that runs the main loop.  Ownership: the broker owns
 * groups and processes, a process its sessions, a session its member of the
 * group; a connection belongs to the broker and serves at most one session.
 */
#ifndef KSM_CLIENTS_STATE_H
#define KSM_CLIENTS_STATE_H

#include <glib.h>
#include <sys/types.h>

#include "clients/client-stats.h"
#include "group/state.h"
#include "host/acceptor.h"
#include "host/identity.h"
#include "host/log.h"
#include "host/share.h"
#include "host/fd-watch.h"
#include "ksm-protocol.h"

typedef struct KsmBroker KsmBroker;
typedef struct KsmProcess KsmProcess;
typedef struct KsmSession KsmSession;
typedef struct KsmRequestState KsmRequestState;

typedef struct KsmBrokerLimits {
    guint max_sessions;
    guint max_process_sessions; /* of one process, connections included */
    guint64 max_pages;          /* of a session */
    guint64 max_process_pages;  /* of the sessions of a process */
    guint64 max_total_pages;    /* of all sessions */
    guint64 max_store_slots;    /* of all stores */
    guint max_user_percent;     /* user.c, of what other users leave of each */
    gboolean no_orphan_check;   /* descent.h */
} KsmBrokerLimits;

/** What there is a limit of, for all users and for each. */
typedef enum KsmQuota {
    KSM_QUOTA_SESSIONS,
    KSM_QUOTA_CONNECTIONS,      /* those that have said nothing yet, too */
    KSM_QUOTA_PROCESSES,        /* that are remembered */
    KSM_QUOTA_PAGES,            /* guest pages of all sessions */
    KSM_QUOTA_SLOTS,            /* of all stores */
    KSM_QUOTAS,
} KsmQuota;

typedef struct KsmUser {
    KsmBroker *broker;
    uid_t uid;
    guint refs;                 /* of processes and groups */
    KsmShare shares[KSM_QUOTAS];        /* parts of the broker's */
    guint64 iteration;          /* of the main loop, in which */
    gint64 turn_us;             /* so much was done for its requests */
    gint64 full_noted_us;       /* when the log was told of a full share */
    gint64 refused_noted_us;    /* when it was told of a refusal */
    guint refused;              /* that it was not told of since */
} KsmUser;

/** Pages unless named otherwise; names as in KsmStats (guest-ksm.h). */
typedef struct KsmTotals {
    guint64 vms;                /* processes that have some */
    guint64 sessions;
    KSM_STATS_STATES(KSM_STATS_MEMBER)      /* as the clients say */
    guint64 pages_shared;       /* slots in use */
    guint64 metadata_bytes;     /* of the engines */
    guint64 cpu_ns;             /* of the sessions that are there */
    guint64 cpu_centi;          /* hundredths of a per cent of one CPU */
} KsmTotals;

/** Counts of pages; each ends at 2^32 - 1 (16 TiB). */
typedef struct KsmSample {
    gint64 time_s;              /* ksm_history_now() */
    guint32 pages_shared;
    guint32 pages_sharing;
    guint32 zero_pages;
    guint32 pages_broken;
    gint32 saved_pages;
    guint32 cpu_centi;          /* hundredths of a per cent of one CPU */
} KsmSample;

/** Grows to KSM_HISTORY_SAMPLES, then the oldest go; start with all zero. */
typedef struct KsmHistory {
    KsmSample *samples;
    guint room;
    guint count;
    guint next;
} KsmHistory;

typedef struct KsmSettings {
    KsmSetting setting;           /* serial 0: none is wanted */
    guint32 map_serial;         /* 0: none is wanted */
    GArray *waits;              /* who waits for either; NULL: nobody */
} KsmSettings;

/** A group and its place in the broker's queues of background work. */
typedef struct KsmShard {
    KsmBroker *broker;
    KsmUser *user;
    KsmGroup *group;
    char *key;                  /* "UID:NAME", of a NUMA node "UID:NAME@NODE" */
    char *family;               /* "UID:NAME": the same for all nodes */
    int node;                   /* or KSM_NODE_ANY */
    GList work_link, sweep_link;
    gboolean in_work, in_sweep, dying;
    KsmTotals totals;           /* by ksm_totals_update() */
    KsmHistory history;
} KsmShard;

struct KsmProcess {
    KsmBroker *broker;
    pid_t pid;
    uid_t uid;
    KsmUser *user;
    KsmShare pages;            /* of its sessions, a part of the user's */
    int pidfd;
    KsmIdentity identity;
    struct KsmKin *kin;         /* when it named a group; NULL: not known */
    KsmFdWatch watch;             /* of the pidfd, while it is known */
    char *group_key;            /* "UID:NAME" of the group that it named
                                   first, of all nodes; NULL: none yet */
    GQueue sessions;            /* KsmSession */
    guint connections;
    KsmLogBucket log_bucket;
};

struct KsmSession {
    KsmBroker *broker;
    KsmProcess *process;
    KsmShard *shard;
    KsmMember *member;
    KsmEngineId engine;         /* none: the client is older than numbers */
    char *told_name;
    char *name;                 /* what people see: unique in the group */
    KsmRequestState *served_by; /* of its connection; NULL: an orphan */
    guint32 version;            /* of the protocol, that both speak */
    gboolean unmarkable;        /* its open file: see ksm_session_mark() */
    KsmClientStats client;          /* what the client told last */
    KsmSettings settings;           /* what is wanted of it */
};

struct KsmBroker {
    KsmBrokerLimits limits;
    KsmShare shares[KSM_QUOTAS];        /* of all users together */
    GHashTable *users;          /* uid -> KsmUser */
    guint64 iteration;          /* of the main loop */
    KsmUser *refused_user;      /* whose share the error under way is of */
    GHashTable *groups;         /* key -> KsmShard */
    GHashTable *processes;      /* pid -> KsmProcess */
    GHashTable *labels;         /* session.c: names in use, of all groups */
    GQueue connections;         /* their KsmRequestStates */
    GQueue work;                /* KsmShard, that have urgent work */
    GQueue sweeps;              /* KsmShard, that may need a sweep */
    GSource *work_source;       /* while there is something in the queue */
    GSource *sweep_source;
    guint sessions;             /* those whose connection has gone too */
    guint orphans;              /* of these, at the last look */
    guint orphan_timer;         /* session.c: while there are some */
    guint orphan_iteration;
    guint64 broker_id;
    guint64 store_ids;
    KsmAcceptor acceptor;
    struct KsmControl *control; /* NULL: none */
    struct KsmDescent *descent;
    guint idle_exit_seconds;    /* 0: never */
    guint idle_timer;
    int mark_fd;                /* grace.c; -1: none */
    gboolean marked;            /* what stands there */
    guint grace_timer;          /* while clients of old are waited for */
    void (*idle)(gpointer opaque);
    gpointer opaque;
    /* of session.c: ksm_broker_welcome(), for grace.c below it */
    void (*welcome)(KsmBroker *broker, const KsmShard *shard);
    /* of connection.c, for session.c below it: answers the HELLO that waits,
       or closes; closes, silently.  What is closed is freed, with @state. */
    void (*ready)(KsmRequestState *state);
    void (*close)(KsmRequestState *state);
    /* of broker.c: ends connections and sessions, for process.c below them */
    void (*ended)(KsmProcess *process);
    KsmLogBucket log_limits;
    gint64 full_noted_us, room_noted_us;
    gint64 started_us;          /* monotonic */
    guint32 report_serials;     /* given to orders and maps */
    KsmTotals totals;           /* by ksm_totals_update() */
    KsmHistory history;
    guint history_timer;
};

#endif /* KSM_CLIENTS_STATE_H */
