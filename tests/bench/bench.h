/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h: one run of one workload on one side, and what its files share.
 *
 * bench-merge measures one side once and prints one line of JSON; scripts/bench
 * alternates sides and takes medians.  The memory lies in forked worker
 * processes; this process is the clock.
 *   bench-content   which content is in which page
 *   bench-worker    a process that owns memory, and its commands
 *   bench-threads   threads of a worker that use the memory meanwhile
 *   bench-touch     one of them, which times its accesses
 *   bench-chase     another, bound by memory: merged against plain
 *   bench-histogram times
 *   bench-measure   clocks
 *   bench-ksmd      the kernel's KSM: settings, CPU, statistics
 *   bench-side      our engine, ksmd, or none: start, converge, CPU
 *   bench-memory    what is saved, and what that needs
 *   bench-cycle     merging again and again
 *   load-*          the workloads
 */
#ifndef BENCH_H
#define BENCH_H

#include <glib.h>
#include <guest-ksm.h>

#include "bench-measure.h"

#define BENCH_MAX_WORKERS 128u
#define BENCH_HISTOGRAM 2048u
#define BENCH_MAX_PAIRS 65536
/* Accesses of the hot thread in each memory, for one pair. */
#define BENCH_HOT_ACCESSES 32768u

typedef enum BenchSide {
    BENCH_OURS,
    BENCH_KSMD,
    BENCH_PLAIN,
} BenchSide;

typedef enum BenchLayout {
    BENCH_RUNS,  /* duplicates and others in runs */
    BENCH_TAILS, /* the same, contents differ in 8 bytes */
    BENCH_FILL,  /* every byte 0xCC */
    BENCH_ZERO,
} BenchLayout;

/** What to measure; from the command line. */
typedef struct BenchConfig {
    BenchSide side;
    BenchLayout layout;
    guint processes;
    guint pages;      /* of each process */
    guint room_pages; /* further ones, never touched */
    guint mean_run;
    guint duplicate_percent;
    double change_percent; /* pages rewritten all the time */
    guint busy_threads;
    guint seed;
    double seconds;       /* of the steady workloads */
    double limit_seconds; /* to converge */
    guint interval_ms;    /* ours; 0: the default */
    guint cpu_percent;    /* ours; 0: the default */
    gboolean shipped;     /* default settings, see bench_ship() */
    gboolean huge;        /* MADV_HUGEPAGE on the memory */
    guint keep_huge;      /* ours */
    guint hot_percent;    /* of the pages: what the hot thread uses */
    guint write_every;    /* accesses between two of its writes */
    gboolean brief;       /* end when converged */
    gboolean twin;        /* the same again, which nobody merges */
    gboolean one_by_one;  /* the workload starts the workers */
} BenchConfig;

/* --- bench-content --- */

/** The contents of worker `index`'s pages: free with g_free(). */
guint64 *bench_content_layout(const BenchConfig *config, guint index);

/** How many of these pages can be merged with another. */
guint64 bench_content_mergeable(const BenchConfig *config, const guint64 *ids,
                                guint64 pages);

/** A content that stands nowhere else. */
guint64 bench_content_unique(guint index, guint64 number);

gboolean bench_content_is_shared(const BenchConfig *config, guint64 id);

void bench_content_make(const BenchConfig *config, guint64 id, void *page);
gboolean bench_content_is(const BenchConfig *config, guint64 id,
                          const void *page);

/* --- bench-histogram --- */

/** Times, by powers of two with 32 steps each; nanoseconds. */
typedef struct BenchHistogram {
    guint64 counts[BENCH_HISTOGRAM];
    guint64 total;
    guint64 max_ns;
} BenchHistogram;

void bench_histogram_add(BenchHistogram *histogram, guint64 ns);
void bench_histogram_merge(BenchHistogram *to, const BenchHistogram *from);

/** The time below which a share of them lies; nanoseconds. */
double bench_histogram_at(const BenchHistogram *histogram, double share);

/** Sorts the values; their middle, 0 when there are none. */
double bench_median(double *values, guint count);

/* --- bench-worker --- */

/** The same work done in two memories, in turn: see bench-chase.c. */
typedef enum BenchTwin { BENCH_MERGED, BENCH_TWIN } BenchTwin;
typedef struct BenchPair {
    guint32 cpu_ns[2]; /* by BenchTwin: of the thread */
    guint32 clock_ns[2];
} BenchPair;

/** Memory that a worker and its parent share. */
typedef struct BenchShared {
    KsmStats stats;        /* after BENCH_STATS */
    guint64 anonymous_kib; /* after BENCH_MEMORY */
    guint64 pss_kib;
    guint64 mappings;
    guint64 huge_kib;
    guint64 mergeable;        /* pages that have a duplicate somewhere */
    guint64 operations;       /* of the rewriting thread */
    BenchHistogram histogram; /* of BENCH_COW and the touching thread */
    BenchHistogram held;      /* of the latter, while it had a processor */
    gint watch, watched;      /* atomic: it times; it knows */
    gint stop;                /* atomic: the threads end */
    gint pairs_done;          /* atomic; of the chasing thread */
    BenchPair pairs[BENCH_MAX_PAIRS];
} BenchShared;

typedef enum BenchOrder {
    BENCH_FILL_MEMORY,
    BENCH_RUN,      /* argument: KsmRunMode */
    BENCH_INTERVAL, /* argument: ms */
    BENCH_CPU,      /* argument: percent */
    BENCH_STATS,
    BENCH_MEMORY,
    BENCH_CHECK,        /* answer: pages that are wrong */
    BENCH_PUT,          /* first, count, content id: writes pages */
    BENCH_COUNT_SHARED, /* first, count; answer: pages, by /proc */
    BENCH_CLEAR_HISTOGRAM,
    BENCH_COW,     /* count: writes to shared pages, timed */
    BENCH_TOUCH,   /* starts a thread that touches pages */
    BENCH_CHASE,   /* starts a thread bound by memory */
    BENCH_HOT,     /* the same in a hot part, at random */
    BENCH_REWRITE, /* starts a thread that rewrites pages */
    BENCH_BUSY,    /* starts a thread that only computes */
    BENCH_STOP,    /* ends these threads */
    BENCH_QUIT,
} BenchOrder;

typedef struct BenchWorker {
    pid_t pid;
    int fd;
    BenchShared *shared;
} BenchWorker;

/** Forks a worker whose memory is filled and known to its side. */
void bench_worker_start(BenchWorker *worker, const BenchConfig *config,
                        const char *socket, guint index);
guint64 bench_worker_order(BenchWorker *worker, BenchOrder order, guint64 first,
                           guint64 count, guint64 id);
/** The same in two steps, for all at once. */
void bench_worker_tell(BenchWorker *worker, BenchOrder order, guint64 first,
                       guint64 count, guint64 id);
guint64 bench_worker_hear(BenchWorker *worker);
void bench_worker_end(BenchWorker *worker);

/* --- bench-threads; in the worker --- */

typedef struct BenchMemory {
    const BenchConfig *config;
    BenchShared *shared;
    guint8 *base;
    guint8 *twin; /* the same content, or NULL */
    guint64 *ids;
    guint index;
    GPtrArray *threads;
} BenchMemory;

void bench_threads_start(BenchMemory *memory, BenchOrder what);
void bench_threads_stop(BenchMemory *memory);
/** A thread's main function: works until told to stop. */
void bench_chase(BenchMemory *memory);
void bench_hot(BenchMemory *memory);
void bench_touch(BenchMemory *memory);
gboolean bench_threads_stopped(const BenchMemory *memory);
/** Times first writes to `count` pages that have duplicates. */
void bench_threads_cow(BenchMemory *memory, guint64 count, gboolean read);

/* --- bench-ksmd --- */

/** Stops ksmd, remembers its settings; put back at exit. */
void bench_ksmd_open(void);
void bench_ksmd_full_speed(void);
void bench_ksmd_shipped(void);
void bench_ksmd_run(gboolean run);
guint64 bench_ksmd_read(const char *name);
void bench_ksmd_write(const char *name, guint64 value);
guint64 bench_ksmd_cpu_ns(void);
/** Pages of a process that are merged, zeros included. */
guint64 bench_ksmd_merged(pid_t pid);
/** What ksmd keeps about the pages of a process. */
guint64 bench_ksmd_item_bytes(pid_t pid);

/* --- bench-side --- */

typedef struct Bench {
    BenchConfig config;
    BenchWorker workers[BENCH_MAX_WORKERS];
    guint started;     /* workers */
    guint64 mergeable; /* pages of all workers */
    guint64 before_kib;
    guint64 broker_kib; /* anonymous memory of the broker, before */
    guint64 pages;      /* of all workers */
    gpointer broker;    /* KsmTestBroker */
    gboolean unhurried; /* bench_ship() was done */
    GString *json;
} Bench;

void bench_open(Bench *bench, const BenchConfig *config);
void bench_close(Bench *bench);
/** One more; its memory is empty. */
void bench_start_worker(Bench *bench);
void bench_run(Bench *bench, gboolean run);
/** The default settings of the side from now on, if they were asked for. */
void bench_ship(Bench *bench);
void bench_all(Bench *bench, BenchOrder order, guint64 first);
/** CPU of everything that merges, since its start. */
guint64 bench_cpu_ns(Bench *bench);
/** Ours: the broker's part of that; how often scanners went to sleep. */
guint64 bench_broker_cpu_ns(Bench *bench);
guint64 bench_wakeups(Bench *bench);
/** Pages that are merged, as the side itself counts them; cheap. */
guint64 bench_merged(Bench *bench);
/** Passes over all memory: the least of all workers', or ksmd's. */
guint64 bench_passes(Bench *bench);
typedef struct BenchSettled {
    double wall_s;
    guint64 cpu_ns;
    guint64 merged;
    double fraction; /* of the mergeable pages */
    double passes;
} BenchSettled;
/** Waits until what can be merged is, or nothing changes any more. */
void bench_settle(Bench *bench, double limit_s, BenchSettled *settled);
/** Starts merging, settles, reports the fraction. */
void bench_converge(Bench *bench);
/** Waits until that many more passes are over; returns the seconds. */
double bench_wait_passes(Bench *bench, guint64 more);
void bench_report(Bench *bench, const char *name, double value);
void bench_report_histogram(Bench *bench, const char *prefix,
                            const BenchHistogram *histogram);

/* --- bench-memory --- */

/** Memory of all workers, a shared page once. */
guint64 bench_memory_kib(Bench *bench);
/** Pages of memory that are free now and were not before. */
gint64 bench_saved_pages(Bench *bench);
void bench_report_metadata(Bench *bench);

/* --- bench-cycle --- */

/** Told when a stretch of merging begins and ends. */
typedef void (*BenchWatch)(Bench *bench, gboolean begins, gpointer opaque);
/** Merges and unmerges until so many seconds of merging are over. */
void bench_keep_merging(Bench *bench, double seconds, BenchWatch watch,
                        gpointer opaque);

/* --- load-* --- */

void bench_load_converge(Bench *bench);
void bench_load_storm(Bench *bench);
void bench_load_idle(Bench *bench);
void bench_load_many(Bench *bench);
void bench_load_crowd(Bench *bench);
void bench_load_churn(Bench *bench);
void bench_load_react(Bench *bench);
void bench_load_cow(Bench *bench);
void bench_load_stall(Bench *bench);
void bench_load_speed(Bench *bench);
void bench_load_hot(Bench *bench);

#endif /* BENCH_H */
