/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-memory.c: what a side saves, and what it needs for that.
 *
 * Saved is by the kernel's account: anonymous pages of the workers plus blocks
 * of the store; or their proportional share, which halves a page that ksmd has
 * given to two.  Metadata is the engines' own account plus what the broker has
 * grown by; or the kernel's account of ksmd's items, without its nodes.
 */
#include "bench.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker-proc.h"
#include "proc-info.h"
#include "require.h"

#define POLL_US 100000u

static guint64 store_kib(Bench *bench)
{
    KsmTestBroker *broker = bench->broker;
    g_autofree char *dir = NULL;
    const char *name;
    guint64 kib = 0;
    GDir *fds;

    if (!broker) {
        return 0;
    }
    dir = g_strdup_printf("/proc/%d/fd", (int)broker->pid);
    fds = g_dir_open(dir, 0, NULL);
    while (fds && (name = g_dir_read_name(fds))) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        char target[128] = "";
        struct stat st;

        if (readlink(path, target, sizeof(target) - 1) > 0 &&
            strstr(target, "ksm-store") && stat(path, &st) == 0) {
            kib = MAX(kib, (guint64)st.st_blocks / 2);
        }
    }
    if (fds) {
        g_dir_close(fds);
    }
    return kib;
}

guint64 bench_memory_kib(Bench *bench)
{
    guint64 kib = store_kib(bench);
    guint i;

    bench_all(bench, BENCH_MEMORY, 0);
    for (i = 0; i < bench->started; i++) {
        const BenchShared *shared = bench->workers[i].shared;

        kib += bench->config.side == BENCH_KSMD ? shared->pss_kib :
                                                  shared->anonymous_kib;
    }
    return kib;
}

/* The last per mille, which settling does not wait for. */
static void finish(Bench *bench)
{
    double start = ksm_test_now(), changed = start;
    guint64 last = bench_merged(bench);

    while (ksm_test_now() - changed < 1 &&
           ksm_test_now() - start < bench->config.limit_seconds) {
        guint64 merged;

        g_usleep(POLL_US);
        merged = bench_merged(bench);
        if (merged != last) {
            last = merged;
            changed = ksm_test_now();
        }
    }
}

gint64 bench_saved_pages(Bench *bench)
{
    finish(bench);
    return ((gint64)bench->before_kib - (gint64)bench_memory_kib(bench)) / 4;
}

static double bytes_per_page(Bench *bench, guint64 bytes)
{
    return (double)bytes / (double)bench->pages;
}

void bench_report_metadata(Bench *bench)
{
    KsmTestBroker *broker = bench->broker;
    guint64 bytes = 0, broker_kib;
    guint i;

    if (broker) {
        bench_all(bench, BENCH_STATS, 0);
    }
    for (i = 0; i < bench->started; i++) {
        const BenchWorker *worker = &bench->workers[i];

        bytes += broker ? worker->shared->stats.metadata_bytes :
                          bench_ksmd_item_bytes(worker->pid);
    }
    if (broker) {
        broker_kib = ksm_test_status_kib(broker->pid, "RssAnon");
        broker_kib -= MIN(broker_kib, bench->broker_kib);
        bench_report(bench, "engine_bytes_per_page",
                     bytes_per_page(bench, bytes));
        bench_report(bench, "broker_bytes_per_page",
                     bytes_per_page(bench, broker_kib * 1024));
        bytes += broker_kib * 1024;
    }
    bench_report(bench, "metadata_bytes_per_page",
                 bytes_per_page(bench, bytes));
}
