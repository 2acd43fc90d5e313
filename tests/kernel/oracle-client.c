/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-client.c: one process of the integrity oracle.
 *
 * Writers work in a hot window of their pages for a while, leave most of it
 * with content that other processes also have, and move on, so that pages
 * become idle, are merged, and are broken again.  Readers check any page.
 * The main thread passes statistics to the parent.  At the end every page is
 * checked, also after an unmerge and after a last round.
 */
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc-info.h"

#define HOT_PAGES 128
#define BATCH 16
#define BATCH_PAUSE_US 2000
#define MAX_ADDS 48
#define HUGE_BYTES (2u << 20)
#define KEPT_PAGES 128

typedef struct Writer {
    Oracle *oracle;
    guint nr;
    guint32 *own;
    guint64 owned;
    OracleIo *io;
    guint64 random;
    /* atomic additions not yet taken back */
    guint64 *added[MAX_ADDS];
    guint64 amount[MAX_ADDS];
    guint adds;
} Writer;

static void write_some(Writer *writer, guint64 page)
{
    Oracle *oracle = writer->oracle;
    guint64 *random = &writer->random;
    guint64 what = ksm_test_below(random, 100);

    oracle_verify(oracle, page);
    if (what < 25) {
        oracle_write(oracle, page, KSM_TEST_SEEDED,
                     oracle_home_seed(oracle, page));
    } else if (what < 35) {
        oracle_write(oracle, page, KSM_TEST_SEEDED,
                     ksm_test_mix(oracle->config->seed,
                                  G_MAXUINT32 + ksm_test_below(random, 64)));
    } else if (what < 50) {
        oracle_write(oracle, page, KSM_TEST_SEEDED, ksm_test_random(random));
    } else if (what < 60) {
        oracle_write(oracle, page, KSM_TEST_ZERO, 0);
    } else if (what < 65) {
        oracle_write(oracle, page, KSM_TEST_BYTE, 0xcc);
    } else if (what < 70) {
        oracle_discard(oracle, page);
    } else if (what < 85) {
        oracle_patch(oracle, page, random);
    } else {
        oracle_write_same(oracle, page, random);
    }
    if (what & 1) {
        oracle_verify(oracle, page);
    }
}

/* All threads add to these at once: an update lost by a move would show. */
static void add_some(Writer *writer)
{
    Oracle *oracle = writer->oracle;
    guint64 page = oracle->first_counter +
                   ksm_test_below(&writer->random, ORACLE_COUNTER_PAGES);
    guint64 *words = oracle_page(oracle, page);

    while (writer->adds < MAX_ADDS && ksm_test_below(&writer->random, 4) != 0) {
        guint64 *word =
            &words[ksm_test_below(&writer->random, KSM_PAGE_BYTES / 8)];
        guint64 amount = ksm_test_random(&writer->random);

        __atomic_fetch_add(word, amount, __ATOMIC_SEQ_CST);
        writer->added[writer->adds] = word;
        writer->amount[writer->adds++] = amount;
    }
}

static void take_back(Writer *writer)
{
    while (writer->adds) {
        writer->adds--;
        __atomic_fetch_sub(writer->added[writer->adds],
                           writer->amount[writer->adds], __ATOMIC_SEQ_CST);
    }
}

/* Leaves a window with what other processes have at the same place. */
static void cool_down(Writer *writer, guint64 first, guint64 count)
{
    guint64 i;

    for (i = first; i < first + count; i++) {
        guint64 page = writer->own[i];

        if (ksm_test_below(&writer->random, 10) < 7) {
            oracle_verify(writer->oracle, page);
            oracle_write(writer->oracle, page, KSM_TEST_SEEDED,
                         oracle_home_seed(writer->oracle, page));
        }
    }
}

static void heat(Writer *writer)
{
    guint64 count = MIN(HOT_PAGES, writer->owned);
    guint64 first = ksm_test_below(&writer->random, writer->owned - count + 1);
    guint64 batches = 20 + ksm_test_below(&writer->random, 60);
    guint i;

    while (batches-- && !oracle_stops(writer->oracle)) {
        for (i = 0; i < BATCH; i++) {
            guint64 k = first + ksm_test_below(&writer->random, count);

            write_some(writer, writer->own[k]);
        }
        if (batches % 8 == 0) {
            add_some(writer);
            oracle_io_step(writer->io, &writer->random);
        }
        g_usleep(BATCH_PAUSE_US);
    }
    take_back(writer);
    cool_down(writer, first, count);
}

static gpointer writer_thread(gpointer opaque)
{
    Writer *writer = opaque;
    Oracle *oracle = writer->oracle;
    guint64 i;

    for (i = 0; i < oracle->config->pages; i++) {
        if (oracle_owner(oracle, i) == writer->nr) {
            writer->own[writer->owned++] = (guint32)i;
        }
    }
    writer->io = oracle_io_new(oracle, writer->own, writer->owned);
    for (i = 0; i < writer->owned; i++) {
        oracle_write(oracle, writer->own[i], KSM_TEST_SEEDED,
                     oracle_home_seed(oracle, writer->own[i]));
    }
    oracle_count(&oracle->figures->ready, 1);
    while (!oracle_stops(oracle)) {
        heat(writer);
    }
    oracle_io_free(writer->io);
    return NULL;
}

static gpointer reader_thread(gpointer opaque)
{
    Oracle *oracle = opaque;
    guint64 random = ksm_test_mix(oracle->config->seed,
                                  (guint64)g_get_monotonic_time());
    guint i;

    while (!oracle_stops(oracle)) {
        for (i = 0; i < BATCH; i++) {
            guint64 limit = i % 4 ? oracle->first_counter :
                                    oracle->constant_pages;

            oracle_verify(oracle, ksm_test_below(&random, limit));
        }
        g_usleep(BATCH_PAUSE_US);
    }
    return NULL;
}

static const char *stand_aside(void *opaque)
{
    Oracle *oracle = opaque;

    return __atomic_load_n(&oracle->aside, __ATOMIC_ACQUIRE);
}

/* A region of the asked size; for 2 MiB pages at a multiple of 2 MiB. */
static void make_memory(Oracle *oracle)
{
    unsigned char *memory;

    oracle->bytes = oracle->config->pages * KSM_PAGE_BYTES;
    memory = mmap(NULL, oracle->bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    oracle->memory = memory + (HUGE_BYTES - (gsize)memory % HUGE_BYTES);
    oracle->pages = g_new0(OraclePage, oracle->config->pages);
}

static void make_engine(Oracle *oracle)
{
    const OracleConfig *config = oracle->config;
    g_autofree char *name = g_strdup_printf("client-%u", oracle->index);
    KsmRegionFlags flags = KSM_REGION_FRESH;
    g_autoptr(GError) error = NULL;
    KsmOptions options;

    ksm_options_init(&options);
    options.name = name;
    options.group = "oracle";
    options.broker = config->socket;
    options.start_broker = FALSE;
    options.scan_interval_ms = 10 + 5 * (oracle->index % 3);
    options.scan_cpu_percent = 100;
    options.max_mappings = config->max_mappings;
    if (config->features & ORACLE_KEEP_HUGE) {
        options.keep_huge = KEPT_PAGES;
    }
    options.stand_aside = stand_aside;
    if (!(config->features & ORACLE_UNTOLD)) {
        options.dma_in_flight = oracle_held;
    }
    options.opaque = oracle;
    if (config->features & ORACLE_HUGE) {
        flags |= KSM_REGION_HUGEPAGE;
    }
    oracle->engine = ksm_engine_new(&options, &error);
    g_assert_no_error(error);
    oracle->region = ksm_region_add(oracle->engine, "ram", oracle->memory,
                                    oracle->bytes, flags, &error);
    g_assert_no_error(error);
}

/*
 * Constant pages: a quarter zero or filled, a quarter unique, half shared.
 * Counter pages begin, and end, with a content that all clients have.
 */
static void fill_constant(Oracle *oracle)
{
    guint64 unique = ksm_test_mix(oracle->config->seed, 77 + oracle->index);
    guint64 i;

    for (i = 0; i < oracle->config->pages; i++) {
        guint64 part = i / 32 % 8;

        if (i >= oracle->first_counter) {
            oracle_write(oracle, i, KSM_TEST_SEEDED,
                         oracle_home_seed(oracle, i));
        } else if (i >= oracle->constant_pages) {
            continue;
        } else if (part < 2) {
            oracle_write(oracle, i, KSM_TEST_BYTE, part ? 0xcc : 0);
        } else {
            oracle_write(oracle, i, KSM_TEST_SEEDED,
                         part < 4 ? ksm_test_mix(unique, i) :
                                    oracle_home_seed(oracle, i));
        }
    }
}

/* Every page, once by each way a page may be held. */
static void check_all(Oracle *oracle)
{
    guint pass;
    guint64 i;

    for (pass = 0; pass < 3; pass++) {
        if (pass == 1) {
            ksm_engine_set_run(oracle->engine, KSM_RUN_UNMERGE);
            ksm_engine_run_round(oracle->engine);
        } else if (pass == 2) {
            ksm_engine_set_run(oracle->engine, KSM_RUN_RUN);
            ksm_engine_run_round(oracle->engine);
            ksm_engine_run_round(oracle->engine);
        }
        for (i = 0; i < oracle->config->pages; i++) {
            oracle_verify(oracle, i);
        }
    }
}

static void publish(Oracle *oracle, guint turn)
{
    OracleFigures *figures = oracle->figures;
    KsmTestMaps maps;
    KsmStats stats;

    ksm_engine_get_stats(oracle->engine, &stats);
    __atomic_store_n(&figures->snapshot, figures->snapshot + 1,
                     __ATOMIC_SEQ_CST);
    figures->stats = stats;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&figures->snapshot, figures->snapshot + 1,
                     __ATOMIC_SEQ_CST);
    if (turn % 16 == 0) {
        ksm_test_maps_read(oracle->memory, oracle->bytes, &maps);
        oracle_raise(&figures->mappings_max, maps.mappings);
        oracle_raise(&figures->claimed_max, stats.mappings);
        oracle_raise(&figures->huge_kib_max, maps.huge_kib);
    }
}

static void run_threads(Oracle *oracle)
{
    guint writers = oracle->config->writers, readers = oracle->config->readers;
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    g_autofree Writer *writer = g_new0(Writer, writers);
    guint i, turn = 0;

    for (i = 0; i < writers; i++) {
        writer[i].oracle = oracle;
        writer[i].nr = i;
        writer[i].own = g_new0(guint32, oracle->config->pages);
        writer[i].random = ksm_test_mix((guint64)getpid() << 8 | i,
                                        oracle->config->seed);
        g_ptr_array_add(threads,
                        g_thread_new("writer", writer_thread, &writer[i]));
    }
    for (i = 0; i < readers; i++) {
        g_ptr_array_add(threads, g_thread_new("reader", reader_thread, oracle));
    }
    g_ptr_array_add(threads,
                    g_thread_new("chaos", oracle_chaos_thread, oracle));
    while (!oracle_stops(oracle)) {
        publish(oracle, turn++);
        g_usleep(30000);
    }
    for (i = 0; i < threads->len; i++) {
        g_thread_join(threads->pdata[i]);
    }
    for (i = 0; i < writers; i++) {
        g_free(writer[i].own);
    }
}

static int run_client(OracleShared *shared, guint index)
{
    g_autoptr(GError) error = NULL;
    Oracle oracle = {
        .config = &shared->config,
        .figures = &shared->clients[index],
        .stop = &shared->stop,
        .index = index,
    };

    oracle.constant_pages = oracle.config->pages / 8;
    oracle.first_counter = oracle.config->pages - ORACLE_COUNTER_PAGES;
    oracle.file = open(oracle.config->file, O_RDONLY | O_CLOEXEC);
    oracle.direct_file = open(oracle.config->file,
                              O_RDONLY | O_DIRECT | O_CLOEXEC);
    g_assert_cmpint(oracle.file, >=, 0);
    make_memory(&oracle);
    make_engine(&oracle);
    fill_constant(&oracle);
    ksm_engine_start(oracle.engine, &error);
    g_assert_no_error(error);
    oracle_sys_install(&oracle);
    run_threads(&oracle);
    oracle_sys_restore();
    check_all(&oracle);
    publish(&oracle, 1);
    ksm_engine_free(oracle.engine);
    g_free(oracle.pages);
    return __atomic_load_n(&oracle.figures->mismatches, __ATOMIC_RELAXED) ? 1 :
                                                                            0;
}

void oracle_client_main(int argc, char **argv)
{
    OracleShared *shared;

    if (argc != 4 || strcmp(argv[1], "--client") != 0) {
        return;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
                  atoi(argv[2]), 0);
    g_assert_true(shared != MAP_FAILED);
    exit(run_client(shared, (guint)atoi(argv[3])));
}
