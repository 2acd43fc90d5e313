/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine-private.h: the engine, as its own files see it.
 *
 * Locks, in this order:
 *   lock.work   held by the scanner thread while it works (a round, the pacing
 *               sleeps in it included) and by whoever changes regions.
 *               ksm_engine_lock() makes the scanner give it up soon: at the
 *               next safe point, never inside a window.
 *   fork lock   (fork-guard.h) around windows.
 *   place_lock  (discard.h) around each window; whoever discards memory.
 *   lock.sleep  with sleep_cond: the scanner's sleeps; requests to it.
 *   stats.lock   the published snapshot only; held for a copy.
 * No thread of the program waits for any of them while it touches guest
 * memory, but where it calls into the library.
 */
#ifndef KSM_ENGINE_PRIVATE_H
#define KSM_ENGINE_PRIVATE_H

#include "client/broker-client.h"
#include "core/kernel-guard.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/tracker.h"

/*
 * Pages have two numbers.  `page` is the one in their region, which stands
 * beside it or in the batch; `session_page` is what the broker knows them by.
 * The latter is made where a message is built, and undone where one is parsed:
 * ksm_ram_session_page(), ksm_ram_page().
 */

/* A page that is bound to a slot at the broker and waits to be merged. */
typedef struct KsmMatch {
    guint32 page;
    guint32 slot;
} KsmMatch;

/* A page and the name of the content that was read from it. */
typedef struct KsmFingerprinted {
    guint32 page;
    KsmFingerprint fingerprint;
} KsmFingerprinted;

/* How the scanner spends its time; scanner thread only.  pace. */
typedef struct KsmPace {
    guint64 wall_ns;            /* since when CPU time is held against */
    guint64 cpu_ns;
    guint64 yielded_ns;         /* when others last could run */
    gboolean unlimited;         /* ksm_engine_run_round() */
} KsmPace;

/*
 * What the engine is made of.  Behind each part stands who may write to it; all
 * of it is the scanner's, under the work lock, where nothing else is said.
 */

/* Options that change at run time; atomic.  options. */
typedef struct KsmTunables {
    gint run;                   /* KsmRunMode */
    guint scan_cpu_percent;
    guint scan_interval_ms;
    guint max_mappings;         /* 0: automatic */
    guint keep_huge;            /* 0: off */
} KsmTunables;

/* What the program wants to be asked and told; set once.  engine. */
typedef struct KsmProgram {
    const char *(*stand_aside)(void *opaque);
    void (*notify)(KsmNotice notice, const KsmStats *stats, void *opaque);
    void *opaque;
} KsmProgram;

/* Taking the engine from its scanner.  lock, pace, scanner. */
typedef struct KsmWorkLock {
    GMutex work;
    gint interrupt;             /* atomic: threads waiting for `work` */
    int wake_fd;                /* eventfd that counts as interrupt does */
    GMutex sleep;
    GCond sleep_cond;
    /* under `sleep`: */
    gboolean stop;
    gboolean poked;             /* options changed */
    guint rounds_requested;
    guint rounds_done;
} KsmWorkLock;

/* All memory; any thread, under the work lock.  region. */
typedef struct KsmRamMap {
    GPtrArray *regions;         /* KsmRegion, by base */
    guint64 session_pages;      /* what the broker was told */
} KsmRamMap;

/* The share of the process's mappings.  budget, discard, shrink. */
typedef struct KsmBudget {
    guint64 allowed;            /* in this round */
    guint64 reported;           /* recorded in the process's account */
    guint generation;           /* whose account that is */
    gboolean shrinking;         /* gives mappings up: the budget is silent */
    gboolean warned;
    gint64 spare;               /* place_lock: what discarding may add */
    guint64 claimed;            /* place_lock: what it has added */
} KsmBudget;

/* What has happened: everybody counts.  stats publishes. */
typedef struct KsmEngineStats {
    KsmStats counters;          /* states are added later */
    guint64 published_ns;
    GMutex lock;                /* of the next one */
    KsmStats published;
} KsmEngineStats;

/* What the program knows.  notice. */
typedef struct KsmNoticeState {
    KsmDegraded degraded;
    guint quiet_rounds;         /* since something was refused by a limit */
    KsmStats counted;           /* counters at the last ksm_notice_update() */
    KsmStats last_reported;     /* what notify was told last */
} KsmNoticeState;

/*
 * Pages on their way through a round, all of one region: the batch is empty
 * whenever another one takes its turn.  sweep, lookup, publish, round, huge,
 * merge.
 */
typedef struct KsmBatch {
    KsmRegion *region;
    GArray *idle;               /* guint32 pages */
    GArray *matches;            /* KsmMatch */
    GArray *publishable;        /* KsmFingerprinted: others list it, too */
} KsmBatch;

/* Pages that the broker is to be told of: KsmRange of session pages.  Who
   changes pages appends, by releases; release sends. */
typedef struct KsmReleases {
    GArray *withdrawn;
    GArray *released;
} KsmReleases;

/* Whom it talks to.  connection. */
typedef struct KsmLink {
    char *name;
    char *group;
    char *broker_path;
    gboolean start_broker;
    gboolean required;
    gboolean was_connected;     /* ever */
    gboolean is_connected;      /* at the last look */
    gboolean was_useful;        /* a round was made with this connection */
    guint64 connected_ns;
    guint64 retry_at_ns;
    guint retry_ms;
} KsmLink;

/* What was reported, and what was ordered.  report. */
typedef struct KsmReport {
    guint64 reported_ns;        /* when the broker was told figures last */
    guint32 setting_serial;     /* of the order carried out last */
    guint32 setting_error;      /* KsmError, or 0 */
    char *setting_reason;
    guint32 map_serial;         /* of the map sent last */
} KsmReport;

/* merge. */
typedef struct KsmMergeState {
    guint64 registered_windows;    /* isolation.windows at the last registering */
    guint precheck_left;         /* to compare beforehand, too */
} KsmMergeState;

/* Whether this kernel has a page of zeros for all.  zero. */
typedef struct KsmZeroPage {
    guint8 *probe;              /* a page to ask the kernel with */
    guint64 asked;              /* full_scans when it was */
    gboolean none;
} KsmZeroPage;

/* Where the scanner is.  scanner, round; suspending: engine. */
typedef struct KsmTurn {
    KsmRunMode run;             /* the run mode that this turn began with */
    gint suspended;             /* any thread, under the work lock */
    const char *suspend_reason; /* likewise */
    const char *standing_aside; /* likewise */
    gboolean detached;          /* tracking is off */
    gboolean unmerged;          /* the run mode `unmerge` has been done */
    guint8 round;               /* low byte of full_scans */
    guint64 interval_ms;        /* between rounds, at present */
    guint64 round_end_ns;       /* of the last round; 0: none yet */
    guint64 track_ns;           /* what tracking took in it */
} KsmTurn;

struct KsmEngine {
    KsmTunables tunables;
    KsmProgram program;
    KsmKernelGuard kernel;
    GThread *thread;
    KsmWorkLock lock;
    GMutex place_lock;          /* discard.c */
    KsmRamMap ram;
    KsmBudget budget;
    KsmTracker tracker;
    KsmIsolation isolation;
    int sync_uffd;              /* giveback.c; -1: not open */
    gboolean merges_any;        /* unmergeable.c: as seen last */
    gboolean hwpoison_warned;
    gboolean lost;              /* there may be shared pages that are LOST */
    KsmBrokerClient broker;
    KsmLink link;
    KsmReport report;
    KsmPace pace;
    KsmTurn turn;
    KsmBatch batch;
    KsmReleases releases;
    KsmMergeState merge;
    KsmZeroPage zero;
    KsmEngineStats stats;
    KsmNoticeState notice;
};

#endif /* KSM_ENGINE_PRIVATE_H */
