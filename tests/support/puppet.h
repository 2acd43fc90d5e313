/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * puppet.h: another process with an engine and one region, told what to do.
 *
 * The test program starts itself again; its main() calls ksm_puppet_main()
 * first, which does not return in such a process.  One order is under way at a
 * time, and each is answered, over a socket pair.
 */
#ifndef TEST_PUPPET_H
#define TEST_PUPPET_H

#include <glib.h>
#include <guest-ksm.h>

#include "page-content.h"
#include "proc-info.h"

typedef struct KsmPuppet KsmPuppet;

/** What the process is made of; 0 and NULL take defaults. */
typedef struct KsmPuppetSpec {
    const char *socket;
    const char *group;
    const char *name;           /* default: the engine's own */
    guint64 pages;
    KsmRegionFlags flags;       /* KSM_REGION_FRESH is always added */
    guint scan_interval_ms;     /* default 20 */
    guint scan_cpu_percent;     /* default 100 */
    guint max_mappings;
    guint keep_huge;
    KsmRunMode run;             /* default KSM_RUN_PAUSE */
    gboolean start_broker;      /* the engine may start one */
    gboolean tells_held;        /* that no device writes to its memory */
    gboolean on_node;           /* memory bound to `node`, shared within it */
    int node;
} KsmPuppetSpec;

/** An answer: figures taken when the order was done. */
typedef struct KsmPuppetState {
    guint64 result;             /* CHECK: pages that are wrong */
    KsmStats stats;             /* its pointers are not valid here */
    KsmTestMaps maps;           /* of the region */
    guint64 all_mappings;       /* of the process */
    guint64 fds;                /* of the process */
} KsmPuppetState;

void ksm_puppet_main(int argc, char **argv);

/** Has an engine that is started and connected when this returns. */
KsmPuppet *ksm_puppet_new(const KsmPuppetSpec *spec);

/** Several at the same moment. */
void ksm_puppets_new(KsmPuppet **puppets, guint count,
                     const KsmPuppetSpec *spec);

/** Fills pages with contents of kind and seed, or seed + page if `each`. */
void ksm_puppet_fill(KsmPuppet *puppet, guint64 first, guint64 count,
                     KsmTestKind kind, guint64 seed, gboolean each);

/** Pages in which that is not what stands there. */
guint64 ksm_puppet_check(KsmPuppet *puppet, guint64 first, guint64 count,
                         KsmTestKind kind, guint64 seed, gboolean each);

/** Gives the content of pages up. */
void ksm_puppet_discard(KsmPuppet *puppet, guint64 first, guint64 count);

/** Maps pages anew, as a VMM does whose memory failed there. */
void ksm_puppet_remap(KsmPuppet *puppet, guint64 first, guint64 count);

/** Sends pages to swap, if there is any. */
void ksm_puppet_page_out(KsmPuppet *puppet, guint64 first, guint64 count);

void ksm_puppet_set_run(KsmPuppet *puppet, KsmRunMode run);

void ksm_puppet_set_keep_huge(KsmPuppet *puppet, guint pages);

/** One ksm_engine_run_round(). */
void ksm_puppet_round(KsmPuppet *puppet);

void ksm_puppet_state(KsmPuppet *puppet, KsmPuppetState *state);

int ksm_puppet_pid(KsmPuppet *puppet);

/** SIGKILL, and waits for its end. */
void ksm_puppet_kill(KsmPuppet *puppet);

/** Has the process free its engine and end; asserts that it did so well. */
void ksm_puppet_free(KsmPuppet *puppet);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmPuppet, ksm_puppet_free)

/**
 * Lets the puppets run until together they share (or gave back as zero) the
 * expected pages and nothing changes for a second, or the time is over.
 * Returns the pages.
 */
guint64 ksm_puppets_settle(KsmPuppet **puppets, guint count, guint64 expected,
                           double seconds);

#endif /* TEST_PUPPET_H */
