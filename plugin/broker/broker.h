/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * broker.h: everything one broker has: groups, processes, connections, and the
 * limits over all of them.
 *
 * One thread, the one that runs the main loop.  Ownership: the broker owns
 * groups and processes, a process its sessions, a session its member of the
 * group; a connection belongs to the broker and serves at most one session.
 */
#ifndef KSM_BROKER_H
#define KSM_BROKER_H

#include <glib.h>

#include "host/acceptor.h"
#include "group/group.h"
#include "clients/history.h"
#include "host/log.h"
#include "store/store.h"
#include "clients/totals.h"
#include "clients/user.h"

typedef struct KsmProcess KsmProcess;
typedef struct KsmSession KsmSession;
typedef struct KsmConnection KsmConnection;

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

/** A group and its place in the broker's queues of background work. */
typedef struct KsmGroupHome {
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
} KsmGroupHome;

struct KsmBroker {
    KsmBrokerLimits limits;
    KsmShare shares[KSM_QUOTAS];        /* of all users together */
    GHashTable *users;          /* uid -> KsmUser */
    guint64 turn;               /* of the main loop */
    KsmUser *refused_user;      /* whose share the error under way is of */
    GHashTable *groups;         /* key -> KsmGroupHome */
    GHashTable *processes;      /* pid -> KsmProcess */
    GHashTable *labels;         /* session.c: names in use, of all groups */
    GQueue connections;
    GQueue work;                /* KsmGroupHome, that have urgent work */
    GQueue sweeps;              /* KsmGroupHome, that may need a sweep */
    GSource *work_source;       /* while there is something in the queue */
    GSource *sweep_source;
    guint sessions;             /* those whose connection has gone too */
    guint orphans;              /* of these, at the last look */
    guint orphan_timer;         /* session.c: while there are some */
    guint orphan_turn;
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
    KsmLogBucket log_limits;
    gint64 full_noted_us, room_noted_us;
    gint64 started_us;          /* monotonic */
    guint32 report_serials;     /* given to orders and maps */
    KsmTotals totals;           /* by ksm_totals_update() */
    KsmHistory history;
    guint history_timer;
};

/** Limits that suit the machine. */
void ksm_broker_default_limits(KsmBrokerLimits *limits);

/**
 * Takes over @listen_fd, and @mark_fd (grace.h; -1: none); @idle is called
 * after @idle_exit_seconds idle.  There is no way to free a broker: its process
 * ends, and the kernel is quicker.
 */
KsmBroker *ksm_broker_new(const KsmBrokerLimits *limits, int listen_fd,
                          int mark_fd,
                          guint idle_exit_seconds,
                          void (*idle)(gpointer opaque), gpointer opaque);

/** The group of that user and name for that node, made if there is none. */
KsmGroupHome *ksm_broker_get_group(KsmBroker *broker, const char *family,
                                   int node, GError **errp);

/** Answers those HELLOs of a group (NULL: of all) that need wait no more. */
void ksm_broker_welcome(KsmBroker *broker, const KsmGroupHome *home);

/** Puts the group away if it has no member, and waits for none. */
void ksm_broker_check_group(KsmBroker *broker, KsmGroup *group);

/** The memory at an address has failed: if it is a slot's, it is retired. */
void ksm_broker_memory_failed(KsmBroker *broker, const guint8 *addr);

/** Starts or stops the timer of idle-exit, as the broker is idle or not. */
void ksm_broker_check_idle(KsmBroker *broker);

/**
 * Content of the user was refused: if a limit did it, logs it, at most once a
 * minute.
 */
void ksm_broker_note_refused(KsmBroker *broker, KsmUser *user);

/** Memory for trees, tables and metadata, without stores and bulk memory. */
guint64 ksm_broker_memory_bytes(const KsmBroker *broker);

void ksm_broker_log_status(const KsmBroker *broker);

#endif /* KSM_BROKER_H */
