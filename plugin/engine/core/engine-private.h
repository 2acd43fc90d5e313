/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine-private.h: the engine's structure, for the library's own files.
 *
 * Locks, in this order:
 *   lock.work   held by the scanner thread while it works (a round, including
 *               its pacing sleeps) and by threads that change regions.
 *               ksm_engine_lock() makes the scanner release it soon: at the
 *               next safe point, never inside a window.
 *   fork lock   (fork-guard.h) held around windows.
 *   place_lock  (discard.h) held around each window and by threads that discard
 *               memory.
 *   lock.sleep  with sleep_cond: the scanner's sleeps, and requests to it.
 *   stats.lock  protects only the published snapshot; held for a copy.
 * No thread of the program waits for any of them while it touches guest
 * memory, except where it calls into the library.
 */
#ifndef KSM_ENGINE_PRIVATE_H
#define KSM_ENGINE_PRIVATE_H

#include "client/broker-client.h"
#include "core/kernel-guard.h"
#include "memory/isolation.h"
#include "memory/ram.h"
#include "memory/tracker.h"

/*
 * A page has two numbers.  `page` is its number in its region, which is passed
 * along with it or is the batch's region.  `session_page` is its number at the
 * broker.  Only code that builds or parses a message converts between the two:
 * ksm_ram_session_page(), ksm_ram_page().
 */

/* A page that is bound to a slot at the broker and not merged yet. */
typedef struct KsmMatch {
    guint32 page;
    guint32 slot;
} KsmMatch;

/* A page and the fingerprint of the content read from it. */
typedef struct KsmFingerprinted {
    guint32 page;
    KsmFingerprint fingerprint;
} KsmFingerprinted;

/* The scanner's time budget; scanner thread only.  Owner: pace. */
typedef struct KsmPace {
    guint64 wall_ns; /* start of the CPU time accounting */
    guint64 cpu_ns;
    guint64 yielded_ns;   /* when other threads could last run */
    guint64 granted_ns;   /* CPU time of this thread up to which it may run */
    guint64 ask_ns;       /* when the broker may grant more */
    gboolean unlimited;   /* ksm_engine_run_round() */
    gboolean interrupted; /* once in this turn, at least */
} KsmPace;

/*
 * The parts of the engine.  The comment on each part names the files that may
 * write to it.  Unless noted otherwise, a part belongs to the scanner, under
 * the work lock.
 */

/* Options that change at run time; atomic.  Owner: options. */
typedef struct KsmTunables {
    gint run; /* KsmRunMode */
    guint scan_cpu_percent;
    guint scan_interval_ms;
    guint max_mappings; /* 0: automatic */
    guint keep_huge;    /* 0: off */
} KsmTunables;

/* Callbacks of the program; set once.  Owner: engine. */
typedef struct KsmProgram {
    const char *(*stand_aside)(void *opaque);
    void (*notify)(KsmNotice notice, const KsmStats *stats, void *opaque);
    void *opaque;
} KsmProgram;

/* Taking the engine from its scanner.  Owners: lock, pace, scanner. */
typedef struct KsmWorkLock {
    GMutex work;
    gint interrupt; /* atomic: threads waiting for `work` */
    int sleep_fd;   /* eventfd: ends the sleep that listens to the broker */
    int wake_fd;    /* eventfd with the value of `interrupt` */
    GMutex sleep;
    GCond sleep_cond;
    /* protected by `sleep`: */
    gboolean stop;
    gboolean listening; /* asleep in ksm_pace_listen(): sleep_fd ends it */
    gboolean poked;     /* options changed */
    guint rounds_requested;
    guint rounds_done;
} KsmWorkLock;

/* All guest RAM; any thread, under the work lock.  Owner: region. */
typedef struct KsmRamMap {
    GPtrArray *regions;    /* KsmRegion, sorted by base */
    guint64 session_pages; /* number of pages that the broker knows */
} KsmRamMap;

/* Share of the process's mappings.  Owners: budget, discard, shrink. */
typedef struct KsmBudget {
    guint64 allowed;    /* in this round */
    guint64 reported;   /* recorded in the process's account */
    guint generation;   /* of the account that has `reported` */
    gboolean shrinking; /* giving mappings up: budget not applied */
    gboolean warned;
    gint64 spare;    /* place_lock: mappings left to discards */
    guint64 claimed; /* place_lock: mappings that discards added */
} KsmBudget;

/* Events since the start; all files count.  stats publishes. */
typedef struct KsmEngineStats {
    KsmStats counters; /* page states are added later */
    guint64 published_ns;
    GMutex lock; /* protects `published` */
    KsmStats published;
} KsmEngineStats;

/* What the program was notified of.  Owner: notice. */
typedef struct KsmNoticeState {
    KsmDegraded degraded;
    guint quiet_rounds;     /* rounds since a limit refused something */
    KsmStats counted;       /* counters at the last ksm_notice_update() */
    KsmStats last_reported; /* last snapshot passed to notify */
} KsmNoticeState;

/*
 * Pages in progress in a round, all of one region; the batch is empty before
 * it switches to another region.  Owners: sweep, lookup, publish, round, huge,
 * merge.
 */
typedef struct KsmBatch {
    KsmRegion *region;
    GArray *idle;        /* guint32 pages */
    GArray *matches;     /* KsmMatch */
    GArray *publishable; /* KsmFingerprinted: also listed by others */
} KsmBatch;

/*
 * Pages to report to the broker: KsmRange of session pages.  Code that changes
 * pages appends through releases; release sends.
 */
typedef struct KsmReleases {
    GArray *withdrawn;
    GArray *released;
} KsmReleases;

/* The connection to the broker.  Owner: connection. */
typedef struct KsmLink {
    char *name;
    char *group;
    char *broker_path;
    gboolean start_broker;
    gboolean required;
    gboolean was_connected; /* ever */
    gboolean is_connected;  /* at the last check */
    gboolean was_useful;    /* a full round was done with this connection */
    guint64 connected_ns;
    guint64 retry_at_ns;
    guint retry_ms;
} KsmLink;

/* KsmReport.results_waiting after a fetch. */
#define KSM_RESULTS_UNKNOWN G_MAXUINT32

/* What was reported, and which settings came back.  Owner: report. */
typedef struct KsmReport {
    guint64 reported_ns;    /* time of the last report to the broker */
    guint32 setting_serial; /* of the last setting carried out */
    guint32 setting_error;  /* KsmError, or 0 */
    char *setting_reason;
    guint32 map_serial;      /* of the last map sent */
    KsmMsgStats last;        /* the last report, but for what always changes */
    guint32 results_waiting; /* at the broker, by its last reply */
} KsmReport;

/* State of merge.c. */
typedef struct KsmMergeState {
    guint64 registered_windows; /* isolation.windows at the last registration */
    guint precheck_left;        /* pieces still to precheck */
} KsmMergeState;

/* Whether this kernel has a shared zero page.  Owner: zero. */
typedef struct KsmZeroPage {
    guint8 *probe; /* a page to test the kernel with */
    guint64 asked; /* full_scans at the last test */
    gboolean none;
} KsmZeroPage;

/* The scanner's state.  Owners: scanner, round; suspending: engine. */
typedef struct KsmTurn {
    KsmRunMode run;             /* the run mode when this turn began */
    gint suspended;             /* any thread, under the work lock */
    const char *suspend_reason; /* likewise */
    const char *standing_aside; /* likewise */
    gboolean detached;          /* tracking is off */
    gboolean unmerged;          /* run mode `unmerge` has completed */
    guint8 round;               /* low byte of the round number */
    guint64 interval_ms;        /* current interval between rounds */
    guint64 round_end_ns;       /* of the last round; 0: none yet */
    guint64 track_ns;           /* time that tracking took in that round */
    gboolean quiet;             /* nothing is expected of the broker but WAKE */
    guint vain_fetches;         /* of results, in a row */
} KsmTurn;

/* KsmDue.soonest if no page waits. */
#define KSM_DUE_NEVER G_MAXUINT16

/* Inputs of a round that others can change. */
typedef struct KsmDueGiven {
    guint64 connected_ns;
    guint64 session_pages;
    guint max_mappings;
    guint keep_huge;
    guint interval_ms;
} KsmDueGiven;

/* How much of a round is needed.  Owner: due. */
typedef struct KsmDue {
    gboolean known;  /* a round got to its end: the rest is so */
    guint64 faults;  /* of other threads when the last scan began */
    guint64 scan_ns; /* when it ended */
    guint64 hot;     /* pages that it found written */
    guint64 unarmed; /* as it began: see due.c */
    guint vain;      /* scans in a row that found none */
    guint64 work;    /* counted when the last round ended */
    guint16 soonest; /* rounds from then until a wait is over */
    guint8 rounds;   /* since then */
    KsmDueGiven given;
} KsmDue;

struct KsmEngine {
    KsmTunables tunables;
    KsmProgram program;
    KsmKernelGuard kernel;
    GThread *thread;
    KsmWorkLock lock;
    GMutex place_lock; /* discard.c */
    KsmRamMap ram;
    KsmBudget budget;
    KsmTracker tracker;
    KsmIsolation isolation;
    int sync_uffd;       /* giveback.c; -1: not open */
    gboolean merges_any; /* unmergeable.c: as last seen */
    gboolean hwpoison_warned;
    gboolean lost; /* there may be KSM_PAGE_ORPHANED pages */
    KsmBrokerClient broker;
    KsmLink link;
    KsmReport report;
    KsmPace pace;
    KsmTurn turn;
    KsmDue due;
    KsmBatch batch;
    KsmReleases releases;
    KsmMergeState merge;
    KsmZeroPage zero;
    KsmEngineStats stats;
    KsmNoticeState notice;
};

#endif /* KSM_ENGINE_PRIVATE_H */
