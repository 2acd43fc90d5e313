/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest-ksm.h: share identical pages of this process's guest memory with
 * other processes of the same trust group.
 *
 * A program (a VMM) makes one KsmEngine, tells it which ranges of its memory
 * are guest RAM (KsmRegion), and starts it.  A thread of the engine then finds
 * pages that were not written for a while, asks a broker process who else
 * holds the same content, and replaces duplicates by private mappings of one
 * shared copy.  A write to such a page is an ordinary kernel copy-on-write.
 *
 * Needs Linux 6.8 or later (PAGEMAP_SCAN 6.7, UFFDIO_MOVE 6.8) and either
 * access to /dev/userfaultfd or the right to call userfaultfd(2) with kernel
 * faults (CAP_SYS_PTRACE, or vm.unprivileged_userfaultfd = 1).  Before 6.12.37,
 * 6.15.5 and 6.16 the engine stands aside while the host has swap.
 *
 * Units: a page is 4096 bytes everywhere in this interface.
 *
 * Threads: every function may be called from any thread, unless said
 * otherwise.  None but ksm_handle_sigbus() may be called from a signal handler
 * or, where nothing else is said, from within a callback of KsmOptions.
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
    KSM_ERROR_FAILED = 1,       /* a system call failed in an unforeseen way */
    KSM_ERROR_UNSUPPORTED = 2,  /* the kernel lacks a feature */
    KSM_ERROR_PERMISSION = 3,   /* userfaultfd, pagemap or socket refused */
    KSM_ERROR_INVALID = 4,      /* an argument is out of range */
    KSM_ERROR_LIMIT = 5,        /* a limit was reached (mappings, sessions) */
    KSM_ERROR_NO_BROKER = 6,    /* no broker listens, none could be started */
    KSM_ERROR_PROTOCOL = 7,     /* the peer broke the protocol */
    KSM_ERROR_GROUP = 8,        /* the broker refused the group */
} KsmError;

/** What the engine does; the meaning of the kernel's /sys/kernel/mm/ksm/run. */
typedef enum KsmRunMode {
    KSM_RUN_PAUSE = 0,          /* keep what is shared, look for nothing new */
    KSM_RUN_RUN = 1,            /* scan and merge */
    KSM_RUN_UNMERGE = 2,        /* pause, and make every shared page private */
} KsmRunMode;

/** State of the connection to the broker. */
typedef enum KsmBrokerState {
    KSM_BROKER_NONE = 0,        /* never connected */
    KSM_BROKER_CONNECTED = 1,
    KSM_BROKER_LOST = 2,        /* was connected; trying again */
} KsmBrokerState;

/** What an engine does at the moment, and if it is not much, why. */
typedef enum KsmState {
    KSM_STATE_RUNNING = 1,      /* looks for pages to share */
    KSM_STATE_PAUSED = 2,       /* run mode `pause` */
    KSM_STATE_UNMERGED = 3,     /* run mode `unmerge` */
    KSM_STATE_STOOD_ASIDE = 4,  /* memory must not be moved: KsmStats says why */
    KSM_STATE_NO_BROKER = 5,    /* no broker can be reached; trying again */
} KsmState;

/**
 * A limit that leaves duplicates unshared.  It is over when nothing was refused
 * for so many rounds that every page refused has been tried again.
 */
typedef enum KsmDegraded {
    KSM_DEGRADED_NOT = 0,
    KSM_DEGRADED_MAPPINGS = 1,  /* the budget of mappings is used up */
    KSM_DEGRADED_BROKER = 2,    /* the broker's limits are reached */
} KsmDegraded;

/** What KsmOptions.notify tells of. */
typedef enum KsmNotice {
    KSM_NOTICE_STATE = 1,       /* state, broker or stand_aside are others */
    KSM_NOTICE_DEGRADED = 2,    /* degraded is another */
    KSM_NOTICE_PROGRESS = 3,    /* a round has ended, or there were windows */
} KsmNotice;

typedef struct KsmStats KsmStats;

/** The most that KsmOptions.keep_huge can be: no huge page is split then. */
#define KSM_KEEP_HUGE_MAX 512u

/** Flags of ksm_region_add(). */
typedef enum KsmRegionFlags {
    KSM_REGION_NONE = 0,
    /*
     * The range holds nothing yet and nobody uses it: the library may replace
     * its mapping by one that has a shadow, so that pages can later be given
     * back to anonymous memory without leaving mappings behind.  Without it
     * unmerge leaves private copies inside the store mappings.
     */
    KSM_REGION_FRESH = 1 << 0,
    /* Advise MADV_HUGEPAGE on the range (as QEMU does for guest RAM). */
    KSM_REGION_HUGEPAGE = 1 << 1,
    /* Leave the range out of core dumps (MADV_DONTDUMP). */
    KSM_REGION_DONTDUMP = 1 << 2,
} KsmRegionFlags;

/**
 * Options of an engine.  Initialise with ksm_options_init(), then change
 * fields.  Strings are copied by ksm_engine_new().
 */
typedef struct KsmOptions {
    const char *name;           /* for people, "VM/BACKEND" or any: need not
                                   be unique; NULL: program name */
    const char *group;          /* trust group, 1 to 63 of [A-Za-z0-9._-] */
    const char *broker;         /* socket path; NULL: the default path */
    gboolean start_broker;      /* start one when none listens (default TRUE,
                                   only on the default or an explicit path
                                   in a directory of this user's) */
    gboolean required;          /* ksm_engine_start() fails without broker */
    KsmRunMode run;             /* default KSM_RUN_RUN */
    guint scan_cpu_percent;     /* of one CPU, 1 to 100, default 10 */
    guint scan_interval_ms;     /* 10 to 3600000, default 1000 */
    guint max_mappings;         /* this engine uses no more of them; 0
                                   (default): what is left.  All engines of
                                   the process together leave it 1/16 of
                                   vm.max_map_count, and 1000 at least */
    guint keep_huge;            /* most duplicates among the 512 pages of a
                                   huge page that are left unshared to keep
                                   it; 0 (default): none, any splits it */
    /*
     * -1 (default): share with all of the group who say so, wherever the
     * memory lies.  Otherwise the NUMA node that this memory is bound to: share
     * with those of the group who name the same node, by pages that lie there.
     */
    int node;
    /*
     * Asked by the engine's thread before each round, between pieces of its
     * work, and while pages are write-protected to be given back: a reason why
     * memory must not be moved now (static string), or NULL.  While there is
     * one, write tracking is off and nothing is merged; shared pages stay
     * shared.  It must be there before anything pins memory for long (VFIO,
     * vDPA, RDMA), as the kernel does not tell of a pin of a broken page.  Must
     * not block, nor touch guest memory.
     */
    const char *(*stand_aside)(void *opaque);
    /*
     * Whether a device, or the kernel on its behalf, may be writing to part of
     * [addr, addr + bytes) by other means than a page table (DMA): somebody
     * was handed the address for that and has not said that he is done.  Asked
     * by the engine's thread inside windows, after threads have been kept from
     * the pages: whoever hands the address out must enter it first, so that
     * either it is seen here or the device's own first access waits.  Must not
     * block, nor touch guest memory.  NULL (default): not known; broken pages
     * then stay where they are.
     */
    gboolean (*dma_in_flight)(const void *addr, gsize bytes, void *opaque);
    /*
     * Told by the engine's thread, between pieces of its work, of what has
     * changed since it was told last, with the figures as they are then; the
     * first time with the state found at the start.  No window is open, but
     * while it runs nothing is scanned, and functions that change regions,
     * suspend or free the engine wait for it: it must not wait for anybody
     * who may be in one of these.  It may call the ksm_engine_get_*
     * functions.
     */
    void (*notify)(KsmNotice notice, const KsmStats *stats, void *opaque);
    void *opaque;               /* of the three above */
} KsmOptions;

void ksm_options_init(KsmOptions *options);

/** The socket used when KsmOptions.broker is NULL.  Free with g_free(). */
char *ksm_default_broker_path(void);

/**
 * Whether this kernel and this process can do it: opens a full userfaultfd,
 * its features, PAGEMAP_SCAN.  The message names the remedy.
 */
gboolean ksm_check_requirements(GError **errp);

/**
 * Makes an engine that is not started.  Fails with KSM_ERROR_INVALID on bad
 * options and as ksm_check_requirements() does.
 */
KsmEngine *ksm_engine_new(const KsmOptions *options, GError **errp);

/**
 * Starts the scanner thread.  Connects to the broker; without one, fails when
 * `required`, else warns through g_warning(), and the thread tries again with
 * back-off.  Regions can be added before and after.
 */
gboolean ksm_engine_start(KsmEngine *engine, GError **errp);

/**
 * Stops the thread, removes the regions that are left (see
 * ksm_region_remove()), disconnects.
 */
void ksm_engine_free(KsmEngine *engine);

/**
 * Takes a range of private anonymous memory into the engine's care.
 *
 * addr and bytes must be multiples of the page.  The range must stay mapped,
 * and the caller must not remap (but see ksm_region_remapped()), mprotect or
 * register it with another userfaultfd, until ksm_region_remove().  The range is
 * marked MADV_DONTFORK and MADV_UNMERGEABLE: children of fork() do not inherit
 * it.
 *
 * Caller does not own the region: it is valid until ksm_region_remove() or
 * ksm_engine_free().
 */
KsmRegion *ksm_region_add(KsmEngine *engine, const char *name, void *addr,
                          guint64 bytes, KsmRegionFlags flags,
                          GError **errp);

/**
 * Gives a range up.  Waits until the scanner is not at work in it (one window
 * at most, or one broker request).  THE CONTENT IS LOST: the range becomes
 * empty anonymous memory, as shared slots may only be released once they are
 * mapped no more.  The caller may unmap it afterwards.
 */
void ksm_region_remove(KsmRegion *region);

/**
 * Gives the content of [offset, offset + bytes) up, both multiples of the page,
 * as MADV_DONTNEED does for ordinary memory: when it returns, the pages are
 * empty anonymous memory and read as zero; slots beneath them are released soon
 * after.  To be called instead of MADV_DONTNEED, or after it: in a region that
 * alone may show the content of slots.  Takes microseconds, waits for one window
 * at most; not for a region that is being removed.
 */
void ksm_region_discard(KsmRegion *region, guint64 offset, guint64 bytes);

/**
 * The caller has mapped [offset, offset + bytes) anew, private and anonymous,
 * both multiples of the page, as a VMM may do when the memory there has failed:
 * nothing of what was there is mapped any more.  The pages are empty when it
 * returns; tracking of writes goes on by itself.
 */
void ksm_region_remapped(KsmRegion *region, guint64 offset, guint64 bytes);

/**
 * To be called first by the program's handler of SIGBUS (SA_SIGINFO, an empty
 * sa_mask), from whatever thread it runs in.  The engine reads guest memory
 * that may have failed, or not be readable from swap any more; when the signal
 * is of such a read, this does not return: the read ends, and the engine leaves
 * the page alone (pages_hwpoison) until it is discarded, mapped anew or
 * written.  Else it returns FALSE, having done nothing, and the signal is the
 * program's.  Without it such a read ends the process.
 */
gboolean ksm_handle_sigbus(const siginfo_t *info);

/* Change options at run time; take effect at the next step of the scanner. */
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

/* What is set now; max_mappings 0: automatic (KsmStats has what that makes). */
guint ksm_engine_get_scan_cpu_percent(KsmEngine *engine);
guint ksm_engine_get_scan_interval(KsmEngine *engine);
guint ksm_engine_get_max_mappings(KsmEngine *engine);
guint ksm_engine_get_keep_huge(KsmEngine *engine);

/**
 * Parks the scanner: when it returns, nothing is moved, shared or given back
 * until the matching ksm_engine_resume().  Waits for the piece of memory under
 * way, a millisecond or so, however large the regions are.  Write tracking goes
 * off afterwards, in the scanner's thread.  Nests.  `reason` is a static string.
 */
void ksm_engine_suspend(KsmEngine *engine, const char *reason);

/**
 * Of a suspended engine: when it returns, no userfaultfd of the engine is
 * registered on any region, so that the caller can register one of its own.
 * Takes 4 to 20 ms for each GiB that is present and has not been let go yet
 * (Linux 6.18); other calls may find the engine busy for as long.
 */
void ksm_engine_detach(KsmEngine *engine);
void ksm_engine_resume(KsmEngine *engine);

/**
 * Runs one round at once, at full speed, in the scanner thread, and waits for
 * its end (for tests and tools).  Works in pause mode too.
 */
void ksm_engine_run_round(KsmEngine *engine);

/** Histogram of isolation windows: bucket i counts [2^i, 2^(i+1)) us. */
#define KSM_STATS_WINDOW_BUCKETS 16

/**
 * A snapshot of an engine's figures.  Pages unless a unit is named.  Names
 * follow the kernel's KSM where it has one.
 */
struct KsmStats {
    /* states of the guest pages; their sum is pages_total */
    guint64 pages_total;
    guint64 pages_untouched;    /* never present, as far as looked at */
    guint64 pages_volatile;     /* private, written in the last round(s) */
    guint64 pages_unshared;     /* candidates listed, no duplicate yet */
    guint64 pages_sharing;      /* mapped to a slot */
    guint64 zero_pages;         /* given back, served by the zero page; where the
                                   kernel has none, zeros are shared */
    guint64 pages_broken;       /* private copies inside store mappings */
    guint64 pages_excluded;     /* back-off, budget, pinned, refused, kept */

    /* what happened since the start */
    guint64 full_scans;         /* rounds */
    guint64 merges;             /* pages merged (committed to a slot) */
    guint64 zero_merges;        /* pages given back as zero */
    guint64 breaks;             /* shared or zero pages found written */
    guint64 given_back;         /* broken pages made anonymous again */
    guint64 rollbacks;          /* pages moved back: changed while verified */
    guint64 refused_pinned;     /* pages the kernel would not move */
    guint64 refused_dma;       /* pages that a device was writing to */
    guint64 refused_budget;     /* left or made private: mapping budget */
    guint64 refused_torn;       /* changed while it was to be published */
    guint64 refused_broker;     /* the broker's limits, or another content
                                   of the same fingerprint */
    guint64 refused_error;      /* a system call failed; left private */
    guint64 windows;            /* isolation windows */
    guint64 window_ns_total;
    guint64 window_ns_max;
    guint64 window_us_histogram[KSM_STATS_WINDOW_BUCKETS];
    guint64 fingerprints;       /* pages read and fingerprinted */
    guint64 lookups;            /* sent to the broker */
    guint64 publishes;
    guint64 deferred_results;   /* received from the broker */
    guint64 broker_requests;    /* requests made to the broker, all kinds */
    guint64 broker_losses;
    guint64 collapses;          /* blocks made huge pages again (keep_huge) */

    /* now */
    KsmState state;             /* as of the scanner's last turn */
    KsmDegraded degraded;
    /*
     * Bytes of memory that this engine saves the host: the kernel's formula,
     * saved pages less metadata.  Zero pages are saved whole; of the group's
     * slots each engine bears the part that its pages have in the references,
     * so that the sum over a group is what the group saves.  Negative while
     * little is shared.
     */
    gint64 general_profit;
    guint64 pages_hwpoison;     /* shared, broken or excluded: their memory has
                                   failed, and they are left alone */
    guint64 pages_kept_huge;    /* of the excluded: duplicates left unshared
                                   to keep their huge page (keep_huge) */
    guint64 pages_parked;      /* in huge pages that are written all the
                                   time and left alone for now (keep_huge) */
    guint64 runs;               /* store mappings */
    guint64 mappings;           /* mappings used by the regions */
    guint64 max_mappings;       /* the budget in force */
    guint64 cpu_ns;             /* CPU time of the scanner thread */
    guint64 metadata_bytes;     /* the engine's own memory for page states */
    guint64 round_ns;           /* duration of the last round */
    guint64 scan_interval_ms;   /* between rounds, at present */
    guint scan_cpu_percent;
    KsmRunMode run;
    KsmBrokerState broker;
    const char *stand_aside;    /* static string, or NULL */

    /* the group, as the broker told last; 0 while not connected */
    guint64 group_pages_shared; /* slots in use */
    guint64 group_pages_sharing; /* references to them */
    guint64 group_pages_unshared; /* listed in the unstable tree */
};

/** Fills a snapshot; never waits for the scanner. */
void ksm_engine_get_stats(KsmEngine *engine, KsmStats *stats);

/** The group and name that the engine was made with; owned by the engine. */
const char *ksm_engine_get_group(KsmEngine *engine);
const char *ksm_engine_get_name(KsmEngine *engine);

#pragma GCC visibility pop

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmEngine, ksm_engine_free)

G_END_DECLS

#endif /* GUEST_KSM_H */
