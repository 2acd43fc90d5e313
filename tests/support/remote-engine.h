/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remote-engine.h: another process with an engine and one region, by commands.
 *
 * The test program starts itself again; its main() calls ksm_remote_main()
 * first, which does not return in such a process.  One command is in progress
 * at a time, and each is answered, over a socket pair.
 */
#ifndef TEST_REMOTE_ENGINE_H
#define TEST_REMOTE_ENGINE_H

#include <glib.h>
#include <guest-ksm.h>

#include "page-content.h"
#include "proc-info.h"

typedef struct KsmRemote KsmRemote;

/** What the process is made of; 0 and NULL take defaults. */
typedef struct KsmRemoteSpec {
    const char *socket;
    const char *group;
    const char *name; /* default: the engine's own */
    guint64 pages;
    KsmRegionFlags flags;   /* KSM_REGION_FRESH is always added */
    guint scan_interval_ms; /* default 20 */
    guint scan_cpu_percent; /* default 100 */
    guint max_mappings;
    guint keep_huge;
    KsmRunMode run;        /* default KSM_RUN_PAUSE */
    gboolean start_broker; /* the engine may start one */
    gboolean tells_held;   /* that no device writes to its memory */
    gboolean on_node;      /* memory bound to `node`, shared within it */
    int node;
} KsmRemoteSpec;

/** An answer: figures taken when the order was done. */
typedef struct KsmRemoteState {
    guint64 result;       /* CHECK: pages that are wrong */
    KsmStats stats;       /* its pointers are not valid here */
    KsmTestMaps maps;     /* of the region */
    guint64 all_mappings; /* of the process */
    guint64 fds;          /* of the process */
} KsmRemoteState;

void ksm_remote_main(int argc, char **argv);

/** Has an engine that is started and connected when this returns. */
KsmRemote *ksm_remote_new(const KsmRemoteSpec *spec);

/** Several at the same moment. */
void ksm_remotes_new(KsmRemote **remotes, guint count,
                     const KsmRemoteSpec *spec);

/** Fills pages with contents of kind and seed, or seed + page if `each`. */
void ksm_remote_fill(KsmRemote *remote, guint64 first, guint64 count,
                     KsmTestKind kind, guint64 seed, gboolean each);

/** Pages in which that is not what stands there. */
guint64 ksm_remote_check(KsmRemote *remote, guint64 first, guint64 count,
                         KsmTestKind kind, guint64 seed, gboolean each);

/** Gives the content of pages up. */
void ksm_remote_discard(KsmRemote *remote, guint64 first, guint64 count);

/** Maps pages anew, as a VMM does whose memory failed there. */
void ksm_remote_remap(KsmRemote *remote, guint64 first, guint64 count);

/** Sends pages to swap, if there is any. */
void ksm_remote_page_out(KsmRemote *remote, guint64 first, guint64 count);

void ksm_remote_set_run(KsmRemote *remote, KsmRunMode run);

void ksm_remote_set_keep_huge(KsmRemote *remote, guint pages);

/** One ksm_engine_run_round(). */
void ksm_remote_round(KsmRemote *remote);

void ksm_remote_state(KsmRemote *remote, KsmRemoteState *state);

int ksm_remote_pid(KsmRemote *remote);

/** SIGKILL, and waits for its end. */
void ksm_remote_kill(KsmRemote *remote);

/** Has the process free its engine and end; asserts that it did so well. */
void ksm_remote_free(KsmRemote *remote);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmRemote, ksm_remote_free)

/**
 * Lets the remotes run until together they share (or gave back as zero) the
 * expected pages and nothing changes for a second, or the time is over.
 * Returns the pages.
 */
guint64 ksm_remotes_settle(KsmRemote **remotes, guint count, guint64 expected,
                           double seconds);

#endif /* TEST_REMOTE_ENGINE_H */
