/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle.h: what the parts of the integrity oracle share.
 *
 * test-oracle.c starts several clients (itself again) which write and verify
 * memory that an engine merges all the time, and does harm from outside.
 *
 *   oracle-pages   the version table: what each page holds, who may write it
 *   oracle-io      pages written by the kernel: read(2), O_DIRECT, io_uring
 *   oracle-client  the client: engine, threads, statistics, final check
 *   oracle-sys     system calls of the engine that are delayed or fail
 *   oracle-run     the parent's side: broker, clients, killing either
 *   oracle-chaos   what a client does to its own engine at random
 *   oracle-host    what a host does to memory
 *
 * A page of the region is constant, or owned by one writer thread, or a page
 * of counters to which all threads add atomically.  Only the owner changes a
 * page and its entry, with an odd sequence number meanwhile, so everybody can
 * check every page exactly.
 */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include <glib.h>
#include <guest-ksm.h>

#include "page-content.h"

#define ORACLE_CLIENTS 8
#define ORACLE_PATCHES 3
#define ORACLE_COUNTER_PAGES 16
#define ORACLE_FILE_PAGES 1024
#define ORACLE_LATENCIES 24

typedef enum OracleFeature {
    ORACLE_READ = 1 << 0,       /* read(2) into pages */
    ORACLE_DIRECT = 1 << 1,     /* O_DIRECT reads: pinned for a moment */
    ORACLE_URING = 1 << 2,      /* io_uring reads */
    ORACLE_FIXED = 1 << 3,      /* into registered buffers: pinned for long */
    ORACLE_FORK = 1 << 4,       /* children that exit or exec */
    ORACLE_TOGGLE = 1 << 5,     /* run modes, suspend, stand aside */
    ORACLE_REGIONS = 1 << 6,    /* regions come and go */
    ORACLE_HUGE = 1 << 7,       /* 2 MiB pages underneath */
    ORACLE_SCRIBBLE = 1 << 8,   /* spoils a byte: the oracle must see it */
    ORACLE_DAWDLE = 1 << 9,     /* the engine's system calls take long */
    ORACLE_FAIL = 1 << 10,      /* and fail */
    ORACLE_UNMERGE = 1 << 11,   /* unmerges all the time */
    ORACLE_UNTOLD = 1 << 12,    /* the engine is not told of transfers */
    ORACLE_HOST = 1 << 13,      /* swap, huge pages, compaction */
    ORACLE_KEEP_HUGE = 1 << 14, /* huge pages are kept whole */
} OracleFeature;

/** Set by the parent before it starts clients. */
typedef struct OracleConfig {
    guint64 seed;
    guint64 pages; /* of the region of a client */
    guint writers, readers;
    guint features;
    guint max_mappings;
    char socket[128];
    char file[256]; /* ORACLE_FILE_PAGES of seeded pages */
} OracleConfig;

/** Figures of one client; it writes, the parent reads. */
typedef struct OracleFigures {
    guint64 ready; /* its threads are at work */
    guint64 writes, checks, mismatches;
    guint64 io_pages, discards, forks, toggles, regions, disturbed;
    guint64 latency_us[ORACLE_LATENCIES]; /* of single stores, by powers of 2 */
    guint64 latency_max_us;
    guint64 mappings_max; /* lines of /proc/self/maps in the region */
    guint64 claimed_max;  /* the same by the engine's count */
    guint64 huge_kib_max;
    guint64 collapsed; /* huge pages made of small ones */
    guint64 swapped_kib_max;
    guint64 snapshot; /* odd while stats is being written */
    KsmStats stats;   /* its pointers are not valid elsewhere */
} OracleFigures;

typedef struct OracleShared {
    guint stop; /* atomic: finish, check everything, exit */
    OracleConfig config;
    OracleFigures clients[ORACLE_CLIENTS];
} OracleShared;

typedef struct OraclePage {
    guint32 sequence; /* odd while its owner changes it */
    guint8 kind;      /* KsmTestKind */
    guint8 patches;
    guint16 patch_at[ORACLE_PATCHES]; /* byte offset, multiple of 8 */
    guint64 seed;
    guint64 patch[ORACLE_PATCHES];
    guint32 held; /* transfers into it under way */
} OraclePage;

/** A client's own state. */
typedef struct Oracle {
    const OracleConfig *config;
    OracleFigures *figures;
    const guint *stop;
    guint index;
    unsigned char *memory;
    guint64 bytes;
    guint64 constant_pages; /* the first ones */
    guint64 first_counter;  /* page */
    OraclePage *pages;
    int file, direct_file;
    KsmEngine *engine;
    KsmRegion *region;
    const char *aside; /* atomic: a reason to stand aside */
} Oracle;

static inline void oracle_count(guint64 *figure, guint64 n)
{
    __atomic_fetch_add(figure, n, __ATOMIC_RELAXED);
}

static inline void oracle_raise(guint64 *figure, guint64 value)
{
    guint64 old = __atomic_load_n(figure, __ATOMIC_RELAXED);

    while (old < value &&
           !__atomic_compare_exchange_n(figure, &old, value, TRUE,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static inline gboolean oracle_stops(const Oracle *oracle)
{
    return __atomic_load_n(oracle->stop, __ATOMIC_RELAXED) != 0;
}

static inline void *oracle_page(const Oracle *oracle, guint64 page)
{
    return oracle->memory + page * KSM_PAGE_BYTES;
}

/* oracle-pages.c */
guint64 oracle_home_seed(const Oracle *oracle, guint64 page);
guint64 oracle_file_seed(const OracleConfig *config, guint64 file_page);
gint64 oracle_owner(const Oracle *oracle, guint64 page);
void oracle_begin(Oracle *oracle, guint64 page);
void oracle_end(Oracle *oracle, guint64 page, KsmTestKind kind, guint64 seed);
void oracle_write(Oracle *oracle, guint64 page, KsmTestKind kind, guint64 seed);
void oracle_patch(Oracle *oracle, guint64 page, guint64 *random);
void oracle_write_same(Oracle *oracle, guint64 page, guint64 *random);
void oracle_discard(Oracle *oracle, guint64 page);
gboolean oracle_verify(Oracle *oracle, guint64 page);
void oracle_hold(Oracle *oracle, guint64 page);
void oracle_let_go(Oracle *oracle, guint64 page);
gboolean oracle_held(const void *addr, gsize bytes, void *opaque);

/* oracle-io.c */
typedef struct OracleIo OracleIo;
OracleIo *oracle_io_new(Oracle *oracle, const guint32 *own, guint64 owned);
void oracle_io_step(OracleIo *io, guint64 *random);
void oracle_io_free(OracleIo *io);
gboolean oracle_io_has_uring(void);

/* oracle-chaos.c */
gpointer oracle_chaos_thread(gpointer oracle);

/* oracle-host.c */
void oracle_host_step(Oracle *oracle, guint64 *random);
void oracle_host_check(const OracleFigures *clients, guint count,
                       gboolean swaps);

/* oracle-sys.c */
void oracle_sys_install(Oracle *oracle);
void oracle_sys_restore(void);

/* oracle-client.c: does not return in a client */
void oracle_client_main(int argc, char **argv);

#endif /* TEST_ORACLE_H */
