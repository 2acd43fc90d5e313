/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench-merge.c: one workload, once, by our engine, by the kernel's KSM, or
 * without merging; prints one line of JSON.  It is run by scripts/bench.
 *
 * usage: bench-merge [OPTION...] WORKLOAD
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Load {
    const char *name;
    void (*run)(Bench *bench);
    BenchLayout layout;
    gboolean twin; /* as in BenchConfig */
    gboolean one_by_one;
} Load;

static const Load loads[] = {
    { "runs", bench_load_converge, BENCH_RUNS, FALSE, FALSE },
    { "tails", bench_load_converge, BENCH_TAILS, FALSE, FALSE },
    { "fill", bench_load_converge, BENCH_FILL, FALSE, FALSE },
    { "zeros", bench_load_converge, BENCH_ZERO, FALSE, FALSE },
    { "storm", bench_load_storm, BENCH_RUNS, FALSE, TRUE },
    { "idle", bench_load_idle, BENCH_RUNS, FALSE, FALSE },
    { "many", bench_load_many, BENCH_RUNS, FALSE, FALSE },
    { "crowd", bench_load_crowd, BENCH_RUNS, FALSE, FALSE },
    { "churn", bench_load_churn, BENCH_RUNS, FALSE, FALSE },
    { "react", bench_load_react, BENCH_RUNS, FALSE, FALSE },
    { "cow", bench_load_cow, BENCH_RUNS, FALSE, FALSE },
    { "stall", bench_load_stall, BENCH_RUNS, FALSE, FALSE },
    { "speed", bench_load_speed, BENCH_RUNS, TRUE, FALSE },
    { "hot", bench_load_hot, BENCH_RUNS, TRUE, FALSE },
};

static BenchConfig config = {
    .processes = 4,
    .pages = 32768,
    .mean_run = 64,
    .duplicate_percent = 50,
    .seed = 1,
    .seconds = 5,
    .limit_seconds = 120,
    .interval_ms = 10,
    .cpu_percent = 100,
    .hot_percent = 50,
};
static char *side_name;

static GOptionEntry entries[] = {
    { "side", 's', 0, G_OPTION_ARG_STRING, &side_name,
      "Who merges: ours (default), ksmd, plain", "SIDE" },
    { "processes", 'n', 0, G_OPTION_ARG_INT, &config.processes, "Processes (4)",
      "N" },
    { "pages", 'p', 0, G_OPTION_ARG_INT, &config.pages, "Pages of each (32768)",
      "N" },
    { "room", 0, 0, G_OPTION_ARG_INT, &config.room_pages,
      "Further pages of each, which nobody touches (0)", "N" },
    { "mean-run", 'm', 0, G_OPTION_ARG_INT, &config.mean_run,
      "Mean length of runs (64)", "PAGES" },
    { "duplicates", 'd', 0, G_OPTION_ARG_INT, &config.duplicate_percent,
      "Share of pages that all have (50)", "PERCENT" },
    { "change", 'c', 0, G_OPTION_ARG_DOUBLE, &config.change_percent,
      "Share of pages rewritten every second (0)", "PERCENT" },
    { "busy", 'b', 0, G_OPTION_ARG_INT, &config.busy_threads,
      "Threads that only compute, in all (0)", "N" },
    { "seed", 0, 0, G_OPTION_ARG_INT, &config.seed, "Of the contents", "N" },
    { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &config.seconds,
      "Of the steady workloads (5)", "S" },
    { "limit", 0, 0, G_OPTION_ARG_DOUBLE, &config.limit_seconds,
      "Most time to converge (120)", "S" },
    { "interval", 0, 0, G_OPTION_ARG_INT, &config.interval_ms,
      "Our scan-interval, 0: its default (10)", "MS" },
    { "cpu", 0, 0, G_OPTION_ARG_INT, &config.cpu_percent,
      "Our scan-cpu-percent, 0: its default (100)", "PERCENT" },
    { "shipped", 0, 0, G_OPTION_ARG_NONE, &config.shipped,
      "Default settings of either side", NULL },
    { "brief", 0, 0, G_OPTION_ARG_NONE, &config.brief,
      "End when converged, as profiles want it", NULL },
    { "huge", 0, 0, G_OPTION_ARG_NONE, &config.huge, "Ask for huge pages",
      NULL },
    { "keep-huge", 0, 0, G_OPTION_ARG_INT, &config.keep_huge,
      "Our keep-huge (0)", "PAGES" },
    { "hot", 0, 0, G_OPTION_ARG_INT, &config.hot_percent,
      "Share of pages that are hot (50)", "PERCENT" },
    { "write-every", 0, 0, G_OPTION_ARG_INT, &config.write_every,
      "Accesses to them of which the last one writes (0: none)", "N" },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

static gboolean parse(int *argc, char ***argv, const Load **load, GError **errp)
{
    g_autoptr(GOptionContext) context = g_option_context_new("WORKLOAD");
    gsize i;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, errp)) {
        return FALSE;
    }
    for (i = 0; *argc == 2 && i < G_N_ELEMENTS(loads); i++) {
        if (strcmp((*argv)[1], loads[i].name) == 0) {
            *load = &loads[i];
        }
    }
    if (!side_name || strcmp(side_name, "ours") == 0) {
        config.side = BENCH_OURS;
    } else if (strcmp(side_name, "ksmd") == 0) {
        config.side = BENCH_KSMD;
    } else {
        config.side = BENCH_PLAIN;
    }
    if (!*load || config.processes < 1 ||
        config.processes > BENCH_MAX_WORKERS || config.pages < 1024 ||
        config.mean_run < 1 || config.duplicate_percent > 100 ||
        config.hot_percent < 1 || config.hot_percent > 100) {
        g_set_error(errp, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "not a workload, or a number out of range");
        return FALSE;
    }
    return TRUE;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    const Load *load = NULL;
    Bench bench;
    FILE *out;

    if (!parse(&argc, &argv, &load, &error)) {
        fprintf(stderr, "bench-merge: %s\n", error->message);
        return 2;
    }
    /* What the test support prints goes beside the one line. */
    out = fdopen(dup(1), "w");
    dup2(2, 1);
    config.layout = load->layout;
    config.twin = load->twin;
    config.one_by_one = load->one_by_one;
    bench_open(&bench, &config);
    load->run(&bench);
    bench_close(&bench);
    fprintf(out, "{%s}\n", bench.json->str);
    fclose(out);
    g_string_free(bench.json, TRUE);
    return 0;
}
