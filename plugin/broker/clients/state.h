/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state.h: the state of one broker: groups, users, processes, sessions, and the
 * limits over all of them.  The other headers have the functions that work on
 * it.
 *
 * Only the main loop's thread uses it.  Ownership: the broker owns groups and
 * processes, a process owns its sessions, a session owns its member of the
 * group.  A connection belongs to the broker and serves at most one session.
 */
#ifndef KSM_CLIENTS_STATE_H
#define KSM_CLIENTS_STATE_H

#include <glib.h>
#include <sys/types.h>

#include "clients/client-stats.h"
#include "clients/cpu-grants.h"
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
    guint max_user_percent;     /* of what other users leave of each: user.c */
    guint max_cpu_percent;      /* of all scanners: cpu-grants.h; 0: none */
    gboolean no_orphan_check;   /* descent.h */
} KsmBrokerLimits;

/** Resources that are limited, for all users together and for each. */
typedef enum KsmQuota {
    KSM_QUOTA_SESSIONS,
    KSM_QUOTA_CONNECTIONS, /* including those before HELLO */
    KSM_QUOTA_PROCESSES,   /* known processes */
    KSM_QUOTA_PAGES,       /* guest pages of all sessions */
    KSM_QUOTA_SLOTS,       /* of all stores */
    KSM_QUOTAS,
} KsmQuota;

typedef struct KsmUser {
    KsmBroker *broker;
    uid_t uid;
    guint refs; /* from processes and groups */
    KsmCpuParty cpu;
    KsmShare shares[KSM_QUOTAS]; /* parts of the broker's */
    guint64 iteration;           /* iteration that turn_us belongs to */
    gint64 turn_us;              /* time spent on its requests in it */
    gint64 full_noted_us;        /* when a full share was last logged */
    gint64 refused_noted_us;     /* when a refusal was last logged */
    guint refused;               /* refusals not logged since then */
} KsmUser;

/** Pages unless named otherwise; names as in KsmStats (guest-ksm.h). */
typedef struct KsmTotals {
    guint64 vms; /* processes that have sessions */
    guint64 sessions;
    KSM_STATS_STATES(KSM_STATS_MEMBER) /* as reported by the clients */
    guint64 pages_shared;              /* slots in use */
    guint64 metadata_bytes;            /* of the engines */
    guint64 cpu_ns;                    /* of the present sessions */
    guint64 cpu_centi;                 /* hundredths of a per cent of one CPU */
} KsmTotals;

/** Page counts; each saturates at 2^32 - 1 (16 TiB). */
typedef struct KsmSample {
    gint64 time_s; /* ksm_history_now() */
    guint32 pages_shared;
    guint32 pages_sharing;
    guint32 zero_pages;
    guint32 pages_broken;
    gint32 saved_pages;
    guint32 cpu_centi; /* hundredths of a per cent of one CPU */
} KsmSample;

/** Grows to KSM_HISTORY_SAMPLES, then overwrites; start with all zero. */
typedef struct KsmHistory {
    KsmSample *samples;
    guint room;
    guint count;
    guint next;
} KsmHistory;

typedef struct KsmSettings {
    KsmSetting setting; /* serial 0: no change is requested */
    guint32 map_serial; /* 0: no map is requested */
    GArray *waits;      /* waiters for either; NULL: none */
} KsmSettings;

/** A group and its place in the broker's queues of background work. */
typedef struct KsmShard {
    KsmBroker *broker;
    KsmUser *user;
    KsmGroup *group;
    char *key;    /* "UID:NAME", or "UID:NAME@NODE" for a node */
    char *family; /* "UID:NAME": the same for all nodes */
    int node;     /* or KSM_NODE_ANY */
    GList work_link, sweep_link;
    gboolean in_work, in_sweep, dying;
    KsmTotals totals; /* by ksm_totals_update() */
    KsmHistory history;
} KsmShard;

struct KsmProcess {
    KsmBroker *broker;
    pid_t pid;
    uid_t uid;
    KsmUser *user;
    KsmShare pages; /* of its sessions, a part of the user's */
    int pidfd;
    KsmIdentity identity;
    struct KsmKin *kin; /* when it named a group; NULL: unknown */
    KsmFdWatch watch;   /* of the pidfd, while it is known */
    char *group_key;    /* "UID:NAME" of the group that it named
                                   first, for all nodes; NULL: none yet */
    GQueue sessions;    /* KsmSession */
    KsmCpuParty cpu;
    guint connections;
    KsmLogBucket log_bucket;
};

struct KsmSession {
    KsmBroker *broker;
    KsmProcess *process;
    KsmShard *shard;
    KsmMember *member;
    KsmEngineId engine;         /* none: an older client without numbers */
    char *told_name;            /* the name in HELLO */
    char *name;                 /* the name shown: unique in the group */
    KsmRequestState *served_by; /* of its connection; NULL: an orphan */
    guint32 version;            /* of the protocol, as negotiated */
    gboolean unmarkable;        /* its open file: see ksm_session_mark() */
    gboolean abandoned;         /* its engine started over: never resumed */
    KsmClientStats client;      /* last statistics from the client */
    KsmSettings settings;       /* pending requests to the client */
    KsmCpuAsker cpu;
};

struct KsmBroker {
    KsmBrokerLimits limits;
    KsmShare shares[KSM_QUOTAS]; /* of all users together */
    KsmCpuGrants cpu;
    GHashTable *users;     /* uid -> KsmUser */
    guint64 iteration;     /* of the main loop */
    KsmUser *refused_user; /* whose share caused the current error */
    GHashTable *groups;    /* key -> KsmShard */
    GHashTable *processes; /* pid -> KsmProcess */
    GHashTable *labels;    /* session.c: names in use, in all groups */
    GQueue connections;    /* their KsmRequestStates */
    GQueue work;           /* KsmShards that have urgent work */
    GQueue sweeps;         /* KsmShards that may need a sweep */
    GSource *work_source;  /* while the queue is not empty */
    GSource *sweep_source;
    guint sessions;     /* including orphans */
    guint orphans;      /* orphans at the last check */
    guint orphan_timer; /* session.c: while there are orphans */
    guint orphan_iteration;
    guint64 broker_id;
    guint64 store_ids;
    KsmAcceptor acceptor;
    struct KsmControl *control; /* NULL: none */
    struct KsmDescent *descent;
    guint idle_exit_seconds; /* 0: never */
    guint idle_timer;
    int mark_fd;       /* grace.c; -1: none */
    gboolean marked;   /* whether that file has its mark */
    guint grace_timer; /* during the grace period */
    void (*idle)(gpointer opaque);
    gpointer opaque;
    /* ksm_broker_welcome() in session.c, for grace.c below it */
    void (*welcome)(KsmBroker *broker, const KsmShard *shard);
    /* In connection.c, for session.c below it.  ready: answers the waiting
       HELLO, or closes the connection.  close: closes it and logs nothing.
       Closing frees the connection and @state. */
    void (*ready)(KsmRequestState *state);
    void (*close)(KsmRequestState *state);
    void (*wake)(KsmRequestState *state);
    /* In broker.c, for process.c below: ends connections and sessions. */
    void (*ended)(KsmProcess *process);
    KsmLogBucket log_limits;
    gint64 full_noted_us, room_noted_us;
    gint64 started_us;      /* monotonic */
    guint32 report_serials; /* last serial of a settings or map request */
    KsmTotals totals;       /* by ksm_totals_update() */
    KsmHistory history;
    guint history_timer;
};

#endif /* KSM_CLIENTS_STATE_H */
