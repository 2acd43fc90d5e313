/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine-private.h: the engine, as its own files see it.
 *
 * Locks, in this order:
 *   work_lock   held by the scanner thread while it works (a round, the pacing
 *               sleeps in it included) and by whoever changes regions.
 *               ksm_engine_lock() makes the scanner give it up soon: at the
 *               next safe point, never inside a window.
 *   fork lock   (fork-guard.h) around windows.
 *   place_lock  (discard.h) around each window; whoever discards memory.
 *   sleep_lock  with sleep_cond: the scanner's sleeps; requests to it.
 *   stats_lock  the published snapshot only; held for a copy.
 * No thread of the program waits for any of them while it touches guest
 * memory, but where it calls into the library.
 */
#ifndef KSM_ENGINE_PRIVATE_H
#define KSM_ENGINE_PRIVATE_H

#include "client/broker-client.h"
#include "core/kernel-guard.h"
#include "memory/quarantine.h"
#include "memory/ram.h"
#include "memory/tracker.h"

/* A page that is bound to a slot at the broker and waits to be merged. */
typedef struct KsmMatch {
    guint32 page;               /* session-wide */
    guint32 slot;
} KsmMatch;

/* A page whose content someone else lists as well. */
typedef struct KsmPublishable {
    guint32 page;
    KsmFingerprint fingerprint;
} KsmPublishable;

/* How the scanner spends its time; scanner thread only. */
typedef struct KsmPace {
    guint64 wall_ns;            /* since when CPU time is held against */
    guint64 cpu_ns;
    guint64 yielded_ns;         /* when others last could run */
    gboolean unlimited;         /* ksm_engine_run_round() */
} KsmPace;

struct KsmEngine {
    /* options; the atomic ones change at run time */
    char *name;
    char *group;
    char *broker_path;
    gboolean start_broker;
    gboolean required;
    gint run;                   /* atomic, KsmRunMode */
    guint scan_cpu_percent;     /* atomic */
    guint scan_interval_ms;     /* atomic */
    guint max_mappings;         /* atomic, 0: automatic */
    guint keep_huge;            /* atomic, 0: off */
    const char *(*stand_aside)(void *opaque);
    void (*notify)(KsmNotice notice, const KsmStats *stats, void *opaque);
    void *opaque;

    KsmKernelGuard kernel;      /* of the scanner thread */

    GThread *thread;
    GMutex work_lock;
    gint interrupt;             /* atomic: threads waiting for work_lock */
    int wake_fd;                /* eventfd that counts as interrupt does */
    GMutex place_lock;          /* discard.c */
    gint64 spare_mappings;      /* place_lock: what discarding may add */
    guint64 mappings_claimed;   /* place_lock: what it has added */

    GMutex sleep_lock;
    GCond sleep_cond;
    gboolean stop;              /* sleep_lock */
    gboolean poked;             /* sleep_lock: options changed */
    guint rounds_requested;     /* sleep_lock */
    guint rounds_done;          /* sleep_lock */

    /* under work_lock */
    GPtrArray *regions;         /* KsmRegion, by base */
    guint64 session_pages;      /* what the broker was told */
    gint suspended;
    const char *suspend_reason;
    const char *standing_aside;
    gboolean detached;          /* tracking is off */
    gboolean unmerged;          /* the run mode `unmerge` has been done */

    /* scanner thread, under work_lock */
    KsmTracker tracker;
    KsmQuarantine quarantine;
    int sync_uffd;              /* giveback.c; -1: not open */
    gboolean merges_any;        /* unmergeable.c: as seen last */
    KsmBrokerClient broker;
    gboolean lost;              /* there may be shared pages that are LOST */
    gboolean was_connected;     /* ever */
    gboolean is_connected;      /* at the last look */
    gboolean was_useful;        /* a round was made with this connection */
    guint64 connected_ns;
    guint64 retry_at_ns;
    guint retry_ms;
    guint64 reported_ns;        /* when the broker was told figures last */
    guint32 order_serial;       /* report.c: the order carried out last */
    guint32 order_error;        /* KsmError, or 0 */
    char *order_reason;
    guint32 map_serial;         /* of the map sent last */
    KsmPace pace;
    guint8 round;               /* low byte of full_scans */
    guint64 budget;             /* mappings allowed in this round */
    guint64 mappings_told;      /* in the process's account: budget.c */
    guint mappings_generation;  /* whose account that is */
    gboolean shrinking;         /* gives mappings up: the budget is silent */
    gboolean budget_warned;
    gboolean hwpoison_warned;
    guint64 settled_windows;    /* quarantine.windows at the last settling */
    guint doubt_pieces;         /* to compare beforehand, too: merge.c */
    KsmRunMode turn_run;        /* the run mode that this turn began with */
    guint64 interval_ms;        /* between rounds, at present */
    guint64 round_end_ns;       /* of the last round; 0: none yet */
    guint64 track_ns;           /* what tracking took in it */
    KsmDegraded degraded;
    guint quiet_rounds;         /* since something was refused by a limit */
    KsmStats looked;            /* counters at the last ksm_notice_look() */
    KsmStats told;              /* what notify was told last */
    GArray *withdrawn;          /* KsmRange of session pages */
    GArray *released;           /* KsmRange of session pages */
    GArray *calm;               /* guint32 session pages */
    GArray *matches;            /* KsmMatch */
    GArray *publishable;        /* KsmPublishable */
    KsmStats counters;          /* what happened; states are added later */

    guint64 published_ns;       /* scanner thread */
    GMutex stats_lock;
    KsmStats published;
};

#endif /* KSM_ENGINE_PRIVATE_H */
