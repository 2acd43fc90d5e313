/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scenario.c: the life of an engine, played by one thread.
 */
#include "scenario.h"

#include <string.h>
#include <sys/mman.h>

#include "session/connection.h"
#include "pages/giveback.h"
#include "core/pace.h"
#include "host-sys.h"
#include "page-content.h"
#include "proc-info.h"
#include "scan/round.h"
#include "scan/scanner.h"
#include "sys.h"
#include "zero-page.h"

/* ---- calls ------------------------------------------------------------------ */

static KsmSys table;
static int (*ask)(const char *name);

/* A wrapper of a call: its name, parameters and arguments. */
#define ODD(name, parameters, arguments) \
    static int odd_##name parameters \
    { \
        int ret = ask(#name); \
\
        return ret ? ret : ksm_test_host_sys()->name arguments; \
    }

ODD(uffd_open, (int *fd), (fd))
ODD(uffd_api, (int fd, uint64_t features), (fd, features))
ODD(uffd_register, (int fd, void *addr, size_t bytes, uint64_t mode),
    (fd, addr, bytes, mode))
ODD(uffd_unregister, (int fd, void *addr, size_t bytes), (fd, addr, bytes))
ODD(uffd_protect, (int fd, void *addr, size_t bytes, bool protect),
    (fd, addr, bytes, protect))
ODD(pagemap_open, (int *fd), (fd))
ODD(pagemap_scan, (int fd, struct pm_scan_arg *arg), (fd, arg))
ODD(read_at, (int fd, void *to, size_t bytes, uint64_t offset),
    (fd, to, bytes, offset))
ODD(copy_self, (void *to, const void *from, size_t bytes), (to, from, bytes))
ODD(map,
    (void *addr, size_t bytes, int prot, int flags, int fd, uint64_t offset,
     void **mapped),
    (addr, bytes, prot, flags, fd, offset, mapped))
ODD(unmap, (void *addr, size_t bytes), (addr, bytes))
ODD(advise, (void *addr, size_t bytes, int advice), (addr, bytes, advice))
ODD(uffd_move, (int fd, void *dst, void *src, size_t bytes, size_t *moved),
    (fd, dst, src, bytes, moved))
ODD(remap_onto, (void *src, size_t bytes, void *dst), (src, bytes, dst))

KsmSys *scenario_calls(int (*before)(const char *name))
{
    table = *ksm_test_host_sys();
    table.uffd_open = odd_uffd_open;
    table.uffd_api = odd_uffd_api;
    table.uffd_register = odd_uffd_register;
    table.uffd_unregister = odd_uffd_unregister;
    table.uffd_protect = odd_uffd_protect;
    table.uffd_move = odd_uffd_move;
    table.pagemap_open = odd_pagemap_open;
    table.pagemap_scan = odd_pagemap_scan;
    table.read_at = odd_read_at;
    table.copy_self = odd_copy_self;
    table.map = odd_map;
    table.unmap = odd_unmap;
    table.remap_onto = odd_remap_onto;
    table.advise = odd_advise;
    ask = before;
    ksm_sys = &table;
    return &table;
}

/* ---- the scenario ---------------------------------------------------------------- */

static gboolean nothing_held(const void *addr, gsize bytes, void *opaque)
{
    (void)addr;
    (void)bytes;
    (void)opaque;
    return FALSE;
}

static void content_of(const Scenario *scenario, guint32 page,
                       KsmTestKind *kind, guint64 *seed)
{
    *kind = page % 8 == 5 ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    *seed = 1 + (page % 4 == 3 ? page - 1 : page);
    if (page >= SCENARIO_REWRITTEN_FIRST && page < SCENARIO_REWRITTEN_END) {
        *seed += scenario->generation * SCENARIO_PAGES;
    }
}

static void write_pages(Scenario *scenario, guint32 first, guint32 end)
{
    KsmTestKind kind;
    guint64 seed;

    for (; first < end; first++) {
        if (scenario->is_lost && scenario->is_lost(scenario, first)) {
            continue;
        }
        content_of(scenario, first, &kind, &seed);
        ksm_test_page_make(scenario->memory + (gsize)first * KSM_PAGE_BYTES,
                           kind, seed);
    }
}

static void check(Scenario *scenario, const char *when)
{
    KsmTestKind kind;
    guint64 seed;
    guint32 page;

    for (page = 0; page < SCENARIO_PAGES; page++) {
        content_of(scenario, page, &kind, &seed);
        if (!(scenario->is_lost && scenario->is_lost(scenario, page)) &&
            !ksm_test_page_is(scenario->memory + (gsize)page * KSM_PAGE_BYTES,
                              kind, seed)) {
            g_autofree char *trouble = scenario->trouble();

            g_error("page %u is wrong %s: %s", page, when, trouble);
        }
    }
    if (scenario->region) {
        scenario->shared = MAX(scenario->shared,
                               scenario->region->counts[KSM_PAGE_SHARED]);
    }
}

void scenario_rounds(Scenario *scenario, guint count, const char *when)
{
    g_autoptr(GError) error = NULL;

    while (count--) {
        scenario->engine->turn.run = KSM_RUN_RUN;
        ksm_pace_begin(scenario->engine, TRUE);
        if (!ksm_broker_client_connected(&scenario->engine->broker)) {
            scenario->connections++;
            scenario->refusals += !ksm_connection_open(scenario->engine,
                                                       &error);
            g_clear_error(&error);
        }
        ksm_round_run(scenario->engine, TRUE);
        if (when) {
            check(scenario, when);
        }
    }
}

static void undo(Scenario *scenario)
{
    scenario->engine->budget.allowed = 10000;
    ksm_engine_set_run(scenario->engine, KSM_RUN_UNMERGE);
    scenario->engine->turn.run = KSM_RUN_UNMERGE;
    ksm_round_track(scenario->engine);
    ksm_giveback_region(scenario->engine, scenario->region);
    check(scenario, "after giving shared pages back");
    ksm_engine_set_run(scenario->engine, KSM_RUN_RUN);
}

static KsmEngine *make_engine(Scenario *scenario)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;

    ksm_options_init(&options);
    options.name = "guest";
    options.group = "scenario";
    options.broker = scenario->fake->path;
    options.start_broker = FALSE;
    options.dma_in_flight = scenario->dma_in_flight ? scenario->dma_in_flight :
                                                      nothing_held;
    options.opaque = scenario;
    engine = ksm_engine_new(&options, &error);
    scenario->refusals += engine == NULL;
    g_assert_true((engine == NULL) == (error != NULL));
    return engine;
}

static void with_region(Scenario *scenario)
{
    write_pages(scenario, 0, SCENARIO_PAGES);
    scenario_rounds(scenario, 4, "after merging");
    scenario->generation++;
    write_pages(scenario, SCENARIO_REWRITTEN_FIRST, SCENARIO_REWRITTEN_END);
    check(scenario, "after writing");
    scenario_rounds(scenario, 4, "after giving broken pages back");
    ksm_scanner_detach(scenario->engine, TRUE);
    check(scenario, "after standing aside");
    ksm_scanner_attach(scenario->engine);
    scenario_rounds(scenario, 2, "after coming back");
    undo(scenario);
    scenario_rounds(scenario, 2, "after merging again");
}

/* Whether the region is empty, or (it could not be emptied) as it was. */
static void check_removed(Scenario *scenario)
{
    if (ksm_test_page_is(scenario->memory, KSM_TEST_ZERO, 0)) {
        guint32 page;

        for (page = 0; page < SCENARIO_PAGES; page++) {
            g_assert_true(ksm_test_page_is(scenario->memory +
                                               (gsize)page * KSM_PAGE_BYTES,
                                           KSM_TEST_ZERO, 0));
        }
        return;
    }
    check(scenario, "after letting go");
}

static void with_engine(Scenario *scenario)
{
    g_autoptr(GError) error = NULL;

    scenario->region = ksm_region_add(scenario->engine, "ram", scenario->memory,
                                      SCENARIO_BYTES, KSM_REGION_FRESH, &error);
    if (!scenario->region) {
        g_assert_nonnull(error);
        scenario->refusals++;
        write_pages(scenario, 0, SCENARIO_PAGES);
        check(scenario, "after it was not taken over");
        return;
    }
    with_region(scenario);
    if (scenario->before_end) {
        scenario->before_end(scenario);
    }
    ksm_region_remove(scenario->region);
    scenario->region = NULL;
    check_removed(scenario);
}

void scenario_tell(Scenario *scenario)
{
    FakeBroker *fake = scenario->fake;
    guint64 fds = ksm_test_count_fds();
    gint ended = g_atomic_int_get(&fake->ended);

    fake_broker_empty(fake);
    scenario->memory = mmap(NULL, SCENARIO_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(scenario->memory != MAP_FAILED);
    scenario->engine = make_engine(scenario);
    if (scenario->engine) {
        with_engine(scenario);
        ksm_engine_free(scenario->engine);
    }
    ksm_sys = ksm_test_host_sys();
    munmap(scenario->memory, SCENARIO_BYTES);
    while (g_atomic_int_get(&fake->ended) - ended != scenario->connections) {
        g_usleep(100);
    }
    g_assert_cmpuint(ksm_test_count_fds(), ==, fds);
}

guint scenario_shared(void)
{
    return ksm_test_has_zero_page() ? SCENARIO_PAGES - SCENARIO_PAGES / 8 :
                                      SCENARIO_PAGES;
}

static void quiet(const gchar *domain, GLogLevelFlags level,
                  const gchar *message, gpointer opaque)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)opaque;
}

void scenario_be_quiet(void)
{
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_handler(NULL,
                      G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE |
                          G_LOG_LEVEL_DEBUG,
                      quiet, NULL);
}
