/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest-ksm.h: share identical pages of this process's guest memory with other
 * processes of the same trust group.
 *
 * A program (a VMM) creates one KsmEngine, adds the ranges of its memory that
 * are guest RAM (KsmRegion), and starts the engine.  A thread of the engine
 * then finds pages that were not written for a while, asks a broker process
 * which other pages have the same content, and replaces duplicates by private
 * mappings of one shared copy.  A write to such a page is an ordinary kernel
 * copy-on-write.
 *
 * Requires Linux 6.8 or later (PAGEMAP_SCAN 6.7, UFFDIO_MOVE 6.8) and either
 * access to /dev/userfaultfd or the right to call userfaultfd(2) with kernel
 * faults (CAP_SYS_PTRACE, or vm.unprivileged_userfaultfd = 1).  On kernels
 * before 6.12.37, 6.15.5 and 6.16 the engine stands aside while the host has
 * swap.
 *
 * Units: a page is 4096 bytes everywhere in this interface.
 *
 * Threads: every function may be called from any thread, unless its comment
 * says otherwise.  Only ksm_handle_sigbus() may be called from a signal
 * handler.  No function may be called from a callback of KsmOptions, unless
 * the callback's comment allows it.
 */
#ifndef GUEST_KSM_H
#define GUEST_KSM_H

#include <glib.h>
#include <signal.h>

G_BEGIN_DECLS

#pragma GCC visibility push(default)

#define KSM_PAGE_BYTES 4096u

typedef struct KsmEngine KsmEngine;
typedef struct KsmRegion KsmRegion;

/** Error domain of every GError that this library sets. */
#define KSM_ERROR (ksm_error_quark())
GQuark ksm_error_quark(void);

/** Codes of KSM_ERROR.  Stable: they also go over the wire. */
typedef enum KsmError {
    KSM_ERROR_FAILED = 1,      /* a system call failed unexpectedly */
    KSM_ERROR_UNSUPPORTED = 2, /* the kernel lacks a feature */
    KSM_ERROR_PERMISSION = 3,  /* userfaultfd, pagemap or socket refused */
    KSM_ERROR_INVALID = 4,     /* an argument is out of range */
    KSM_ERROR_LIMIT = 5,       /* a limit was reached (mappings, sessions) */
    KSM_ERROR_NO_BROKER = 6,   /* no broker listens, none could be started */
    KSM_ERROR_PROTOCOL = 7,    /* the peer broke the protocol */
    KSM_ERROR_GROUP = 8,       /* the broker refused the group */
} KsmError;

/** What the engine does; values have the meaning of /sys/kernel/mm/ksm/run. */
typedef enum KsmRunMode {
    KSM_RUN_PAUSE = 0,   /* keep shared pages, do not scan */
    KSM_RUN_RUN = 1,     /* scan and merge */
    KSM_RUN_UNMERGE = 2, /* pause, and make every shared page private */
} KsmRunMode;

/** State of the connection to the broker. */
typedef enum KsmBrokerState {
    KSM_BROKER_NONE = 0, /* never connected */
    KSM_BROKER_CONNECTED = 1,
    KSM_BROKER_LOST = 2, /* was connected; reconnecting */
} KsmBrokerState;

/** What an engine is doing now, or why it is not sharing. */
typedef enum KsmState {
    KSM_STATE_RUNNING = 1,     /* scans for pages to share */
    KSM_STATE_PAUSED = 2,      /* run mode `pause` */
    KSM_STATE_UNMERGED = 3,    /* run mode `unmerge` */
    KSM_STATE_STOOD_ASIDE = 4, /* memory must not be moved: see
                                   KsmStats.stand_aside */
    KSM_STATE_NO_BROKER = 5,   /* no broker can be reached; retrying */
} KsmState;

/**
 * A limit that leaves duplicates unshared.  It is cleared after enough rounds
 * without a refusal that every refused page has been retried.
 */
typedef enum KsmDegraded {
    KSM_DEGRADED_NOT = 0,
    KSM_DEGRADED_MAPPINGS = 1, /* the mapping budget is used up */
    KSM_DEGRADED_BROKER = 2,   /* the broker's limits are reached */
} KsmDegraded;

/** What KsmOptions.notify reports. */
typedef enum KsmNotice {
    KSM_NOTICE_STATE = 1,    /* state, broker or stand_aside changed */
    KSM_NOTICE_DEGRADED = 2, /* degraded changed */
    KSM_NOTICE_PROGRESS = 3, /* a round ended, or windows were opened */
} KsmNotice;

typedef struct KsmStats KsmStats;

/** Maximum of KsmOptions.keep_huge: no huge page is split. */
#define KSM_KEEP_HUGE_MAX 512u

/** Flags of ksm_region_add(). */
typedef enum KsmRegionFlags {
    KSM_REGION_NONE = 0,
    /*
     * The range holds no data yet and nothing uses it.  The library may
     * replace its mapping by one that has a shadow, so that pages can later be
     * moved back to anonymous memory without leaving extra mappings.  Without
     * this flag, unmerge leaves private copies inside the store mappings.
     */
    KSM_REGION_FRESH = 1 << 0,
    /* Advise MADV_HUGEPAGE on the range (as QEMU does for guest RAM). */
    KSM_REGION_HUGEPAGE = 1 << 1,
    /* Leave the range out of core dumps (MADV_DONTDUMP). */
    KSM_REGION_DONTDUMP = 1 << 2,
} KsmRegionFlags;

/**
 * Options of an engine.  Initialise them with ksm_options_init(), then change
 * fields.  ksm_engine_new() copies the strings.
 */
typedef struct KsmOptions {
    const char *name;       /* for display, "VM/BACKEND" or any text; need
                                   not be unique; NULL: program name */
    const char *group;      /* trust group, 1 to 63 of [A-Za-z0-9._-] */
    const char *broker;     /* socket path; NULL: the default path */
    gboolean start_broker;  /* start a broker if none listens (default TRUE;
                                   only on the default path, or on an explicit
                                   path in a directory owned by this user) */
    gboolean required;      /* ksm_engine_start() fails without a broker */
    KsmRunMode run;         /* default KSM_RUN_RUN */
    guint scan_cpu_percent; /* percent of one CPU, 1 to 100, default 10 */
    guint scan_interval_ms; /* milliseconds, 10 to 3600000, default 1000 */
    guint max_mappings;     /* maximum number of kernel mappings for this
                                   engine; 0 (default): whatever is left.  All
                                   engines of the process together leave it 1/16
                                   of vm.max_map_count, and at least 1000 */
    guint keep_huge;        /* keep a huge page intact if at most this many
                                   of its 512 pages could be shared; 0
                                   (default): any duplicate splits it */
    /*
     * -1 (default): share with all members of the group that also set -1, on
     * whatever node the memory is.  Otherwise the NUMA node that this memory
     * is bound to: share only with members of the group that set the same
     * node, using pages on that node.
     */
    int node;
    /*
     * Returns a reason why memory must not be moved now (static string), or
     * NULL.  The engine's thread calls it before each round, between pieces of
     * its work, and while pages are write-protected to be moved back to
     * anonymous memory.  While there is a reason, write tracking is off and
     * nothing is merged; shared pages stay shared.  The reason must be set
     * before anything pins memory for long (VFIO, vDPA, RDMA), because the
     * kernel does not report that a broken page is pinned.  Must not block or
     * touch guest memory.
     */
    const char *(*stand_aside)(void *opaque);
    /*
     * Returns whether a device, or the kernel on its behalf, may be writing to
     * part of [addr, addr + bytes) without using a page table (DMA): an
     * address in the range was handed out for DMA and not yet returned.  The
     * engine's thread calls it inside windows, after threads have been blocked
     * from the pages.  The program must therefore record an address before
     * handing it out: either this callback sees it, or the first access for
     * the device blocks.  Must not block or touch guest memory.  NULL
     * (default): unknown; broken pages then stay where they are.
     */
    union {
        gboolean (*dma_in_flight)(const void *addr, gsize bytes, void *opaque);
        /* its name until 0.2 */
        gboolean (*held)(const void *addr, gsize bytes, void *opaque);
    };
    /*
     * Reports what has changed since the last call, with the statistics at
     * that moment; the first call reports the state found at the start.  The
     * engine's thread calls it between pieces of its work.  No window is open,
     * but nothing is scanned while it runs, and functions that change regions,
     * suspend or free the engine wait for it.  It must not wait for a thread
     * that may be in one of these functions.  It may call the ksm_engine_get_*
     * functions.
     */
    void (*notify)(KsmNotice notice, const KsmStats *stats, void *opaque);
    void *opaque; /* passed to the three callbacks above */
} KsmOptions;

void ksm_options_init(KsmOptions *options);

/** The socket used when KsmOptions.broker is NULL.  Free with g_free(). */
char *ksm_default_broker_path(void);

/**
 * Checks that this kernel and this process meet the requirements: opens a
 * userfaultfd with kernel faults and checks its features and PAGEMAP_SCAN.
 * The error message names the remedy.
 */
gboolean ksm_check_requirements(GError **errp);

/**
 * Creates an engine; it is not started.  Fails with KSM_ERROR_INVALID on
 * invalid options, and with the errors of ksm_check_requirements().
 */
KsmEngine *ksm_engine_new(const KsmOptions *options, GError **errp);

/**
 * Starts the scanner thread and connects to the broker.  If there is no
 * broker, it fails when `required` is set; otherwise it warns through
 * g_warning(), and the thread retries with back-off.  Regions can be added
 * before and after.
 */
gboolean ksm_engine_start(KsmEngine *engine, GError **errp);

/**
 * Stops the thread, removes the remaining regions (see ksm_region_remove()),
 * and disconnects from the broker.
 */
void ksm_engine_free(KsmEngine *engine);

/**
 * Adds a range of private anonymous memory to the engine.
 *
 * addr and bytes must be multiples of the page size.  Until
 * ksm_region_remove(), the range must stay mapped, and the caller must not
 * remap it (except as described at ksm_region_remapped()), mprotect it or
 * register it with another userfaultfd.  The range is marked MADV_DONTFORK and
 * MADV_UNMERGEABLE: children of fork() do not inherit it.
 *
 * The caller does not own the region: it is valid until ksm_region_remove() or
 * ksm_engine_free().
 */
KsmRegion *ksm_region_add(KsmEngine *engine, const char *name, void *addr,
                          guint64 bytes, KsmRegionFlags flags, GError **errp);

/**
 * Removes a range from the engine.  Waits until the scanner is not working in
 * it (one window or one broker request at most).  THE CONTENT IS LOST: the
 * range becomes empty anonymous memory, because shared slots may be released
 * only when they are no longer mapped.  The caller may unmap the range
 * afterwards.
 */
void ksm_region_remove(KsmRegion *region);

/**
 * Discards the content of [offset, offset + bytes), both in bytes and
 * multiples of the page size, as MADV_DONTNEED does for ordinary memory.  When
 * it returns, the pages are empty anonymous memory and read as zero; the slots
 * beneath them are released soon after.  Call it instead of MADV_DONTNEED, or
 * after it: in a region, MADV_DONTNEED alone may expose the content of slots.
 * Takes microseconds and waits for one window at most.  Not for a region that
 * is being removed.
 */
void ksm_region_discard(KsmRegion *region, guint64 offset, guint64 bytes);

/**
 * Tells the engine that the caller has mapped [offset, offset + bytes) again,
 * private and anonymous, both in bytes and multiples of the page size, as a
 * VMM may do when the memory there has failed.  Nothing of the earlier mapping
 * may remain.  The pages are empty when it returns; write tracking resumes by
 * itself.
 */
void ksm_region_remapped(KsmRegion *region, guint64 offset, guint64 bytes);

/**
 * The program's SIGBUS handler (SA_SIGINFO, empty sa_mask) must call this
 * first, in whatever thread it runs.  The engine reads guest memory that may
 * have failed or can no longer be read from swap.  If the signal was raised by
 * such a read, this function does not return: the read is aborted, and the
 * engine leaves the page alone (pages_hwpoison) until it is discarded,
 * remapped or written.  Otherwise it does nothing and returns FALSE, and the
 * program must handle the signal.  Without this call, such a read kills the
 * process.
 */
gboolean ksm_handle_sigbus(const siginfo_t *info);

/* Change options at run time.  Effective at the scanner's next step. */
void ksm_engine_set_run(KsmEngine *engine, KsmRunMode run);
KsmRunMode ksm_engine_get_run(KsmEngine *engine);
gboolean ksm_engine_set_scan_cpu_percent(KsmEngine *engine, guint percent,
                                         GError **errp);
gboolean ksm_engine_set_scan_interval(KsmEngine *engine, guint ms,
                                      GError **errp);
gboolean ksm_engine_set_max_mappings(KsmEngine *engine, guint max_mappings,
                                     GError **errp);

gboolean ksm_engine_set_keep_huge(KsmEngine *engine, guint pages,
                                  GError **errp);

/* Current settings; max_mappings 0: automatic (KsmStats has the result). */
guint ksm_engine_get_scan_cpu_percent(KsmEngine *engine);
guint ksm_engine_get_scan_interval(KsmEngine *engine);
guint ksm_engine_get_max_mappings(KsmEngine *engine);
guint ksm_engine_get_keep_huge(KsmEngine *engine);

/**
 * Suspends the scanner.  When it returns, nothing is moved, shared or given
 * back until the matching ksm_engine_resume().  Waits for the piece of work in
 * progress, about a millisecond, however large the regions are.  The scanner's
 * thread turns write tracking off afterwards.  Calls nest.  `reason` is a
 * static string.
 */
void ksm_engine_suspend(KsmEngine *engine, const char *reason);

/**
 * For a suspended engine: when it returns, no userfaultfd of the engine is
 * registered on any region, so that the caller can register its own.  Takes 4
 * to 20 ms for each GiB that is present and still registered (Linux 6.18);
 * other calls may wait that long for the engine.
 */
void ksm_engine_detach(KsmEngine *engine);
void ksm_engine_resume(KsmEngine *engine);

/**
 * Runs one round immediately, at full speed, in the scanner thread, and waits
 * for its end (for tests and tools).  Also works in pause mode.
 */
void ksm_engine_run_round(KsmEngine *engine);

/** Histogram of isolation windows: bucket i counts [2^i, 2^(i+1)) us. */
#define KSM_STATS_WINDOW_BUCKETS 16

/**
 * A snapshot of an engine's statistics, in pages unless a unit is named.
 * Names follow the kernel's KSM where it has the same statistic.
 */
struct KsmStats {
    /* states of the guest pages; their sum is pages_total */
    guint64 pages_total;
    guint64 pages_untouched; /* never seen present */
    guint64 pages_volatile;  /* private, written in the last round(s) */
    guint64 pages_unshared;  /* candidates listed, no duplicate yet */
    guint64 pages_sharing;   /* mapped to a slot */
    guint64 zero_pages;      /* given back, served by the kernel's zero page;
                                   if it has none, zeros are shared */
    guint64 pages_broken;    /* private copies inside store mappings */
    guint64 pages_excluded;  /* back-off, budget, pinned, refused, kept */

    /* what happened since the start */
    guint64 full_scans;     /* rounds */
    guint64 merges;         /* pages merged (committed to a slot) */
    guint64 zero_merges;    /* pages given back as zero */
    guint64 breaks;         /* shared or zero pages found written */
    guint64 given_back;     /* broken pages made anonymous again */
    guint64 rollbacks;      /* pages moved back: changed while verified */
    guint64 refused_pinned; /* pages the kernel would not move */
    union {
        guint64 refused_dma;  /* pages a device may have been writing to */
        guint64 refused_held; /* its name until 0.2 */
    };
    guint64 refused_budget; /* left or made private: mapping budget */
    guint64 refused_torn;   /* changed while being published */
    guint64 refused_broker; /* the broker's limits, or a different page with
                                   the same fingerprint */
    guint64 refused_error;  /* a system call failed; left private */
    guint64 windows;        /* isolation windows */
    guint64 window_ns_total;
    guint64 window_ns_max;
    guint64 window_us_histogram[KSM_STATS_WINDOW_BUCKETS];
    guint64 fingerprints; /* pages read and fingerprinted */
    guint64 lookups;      /* sent to the broker */
    guint64 publishes;
    union {
        guint64 deferred_results; /* received from the broker */
        guint64 hints;            /* its name until 0.2 */
    };
    guint64 broker_requests; /* requests made to the broker, all kinds */
    guint64 broker_losses;
    guint64 collapses; /* blocks collapsed to huge pages (keep_huge) */

    /* now */
    KsmState state; /* as of the scanner's last turn */
    KsmDegraded degraded;
    /*
     * Bytes of memory that this engine saves on the host, by the kernel's
     * formula: saved pages less metadata, and less 256 bytes of kernel memory
     * for each of the mappings.  Zero pages are saved in full.  Each
     * engine bears the cost of the group's slots in proportion to its share of
     * the references, so that the sum over a group is what the group saves.
     * Negative while little is shared.
     */
    gint64 general_profit;
    guint64 pages_hwpoison;  /* shared, broken or excluded pages whose memory
                                   has failed; they are left alone */
    guint64 pages_kept_huge; /* excluded duplicates, left unshared to keep
                                   their huge page (keep_huge) */
    union {
        guint64 pages_parked;  /* in huge pages that are written continuously
                                   and left alone for now (keep_huge) */
        guint64 pages_resting; /* its name until 0.2 */
    };
    guint64 runs;             /* store mappings */
    guint64 mappings;         /* kernel mappings used by the regions */
    guint64 max_mappings;     /* the budget in force */
    guint64 cpu_ns;           /* CPU time of the scanner thread */
    guint64 metadata_bytes;   /* the engine's own memory for page states */
    guint64 round_ns;         /* duration of the last round */
    guint64 scan_interval_ms; /* current interval between rounds */
    guint scan_cpu_percent;
    KsmRunMode run;
    KsmBrokerState broker;
    const char *stand_aside; /* static string, or NULL */

    /* the group's statistics, as last reported; 0 while not connected */
    guint64 group_pages_shared;   /* slots in use */
    guint64 group_pages_sharing;  /* references to them */
    guint64 group_pages_unshared; /* listed in the unstable tree */
};

/** Fills a snapshot; never waits for the scanner. */
void ksm_engine_get_stats(KsmEngine *engine, KsmStats *stats);

/** The engine's group and name; owned by the engine. */
const char *ksm_engine_get_group(KsmEngine *engine);
const char *ksm_engine_get_name(KsmEngine *engine);

#pragma GCC visibility pop

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmEngine, ksm_engine_free)

G_END_DECLS

#endif /* GUEST_KSM_H */
