/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * story.c: the life of an engine, told by one thread.
 */
#include "story.h"

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
#define ODD(name, parameters, arguments)                                  \
    static int odd_##name parameters                                      \
    {                                                                     \
        int ret = ask(#name);                                             \
                                                                          \
        return ret ? ret : ksm_test_host_sys()->name arguments;           \
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
ODD(read_own, (void *to, const void *from, size_t bytes), (to, from, bytes))
ODD(map, (void *addr, size_t bytes, int prot, int flags, int fd,
          uint64_t offset, void **mapped),
    (addr, bytes, prot, flags, fd, offset, mapped))
ODD(unmap, (void *addr, size_t bytes), (addr, bytes))
ODD(advise, (void *addr, size_t bytes, int advice), (addr, bytes, advice))
ODD(uffd_move, (int fd, void *dst, void *src, size_t bytes, size_t *moved),
    (fd, dst, src, bytes, moved))
ODD(remap_onto, (void *src, size_t bytes, void *dst), (src, bytes, dst))

KsmSys *story_calls(int (*before)(const char *name))
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
    table.read_own = odd_read_own;
    table.map = odd_map;
    table.unmap = odd_unmap;
    table.remap_onto = odd_remap_onto;
    table.advise = odd_advise;
    ask = before;
    ksm_sys = &table;
    return &table;
}

/* ---- the story ---------------------------------------------------------------- */

static gboolean nothing_held(const void *addr, gsize bytes, void *opaque)
{
    (void)addr;
    (void)bytes;
    (void)opaque;
    return FALSE;
}

static void content_of(const Story *story, guint32 page, KsmTestKind *kind,
                       guint64 *seed)
{
    *kind = page % 8 == 5 ? KSM_TEST_ZERO : KSM_TEST_SEEDED;
    *seed = 1 + (page % 4 == 3 ? page - 1 : page);
    if (page >= STORY_REWRITTEN_FIRST && page < STORY_REWRITTEN_END) {
        *seed += story->generation * STORY_PAGES;
    }
}

static void write_pages(Story *story, guint32 first, guint32 end)
{
    KsmTestKind kind;
    guint64 seed;

    for (; first < end; first++) {
        if (story->is_lost && story->is_lost(story, first)) {
            continue;
        }
        content_of(story, first, &kind, &seed);
        ksm_test_page_make(story->memory + (gsize)first * KSM_PAGE_BYTES,
                           kind, seed);
    }
}

static void check(Story *story, const char *when)
{
    KsmTestKind kind;
    guint64 seed;
    guint32 page;

    for (page = 0; page < STORY_PAGES; page++) {
        content_of(story, page, &kind, &seed);
        if (!(story->is_lost && story->is_lost(story, page)) &&
            !ksm_test_page_is(story->memory + (gsize)page * KSM_PAGE_BYTES,
                              kind, seed)) {
            g_autofree char *trouble = story->trouble();

            g_error("page %u is wrong %s: %s", page, when, trouble);
        }
    }
    if (story->region) {
        story->shared = MAX(story->shared,
                            story->region->counts[KSM_PAGE_SHARED]);
    }
}

void story_rounds(Story *story, guint count, const char *when)
{
    g_autoptr(GError) error = NULL;

    while (count--) {
        story->engine->turn.run = KSM_RUN_RUN;
        ksm_pace_begin(story->engine, TRUE);
        if (!ksm_broker_client_connected(&story->engine->broker)) {
            story->connections++;
            story->refusals += !ksm_connection_open(story->engine, &error);
            g_clear_error(&error);
        }
        ksm_round_run(story->engine);
        if (when) {
            check(story, when);
        }
    }
}

static void undo(Story *story)
{
    story->engine->budget.allowed = 10000;
    ksm_engine_set_run(story->engine, KSM_RUN_UNMERGE);
    story->engine->turn.run = KSM_RUN_UNMERGE;
    ksm_round_track(story->engine);
    ksm_giveback_region(story->engine, story->region);
    check(story, "after giving shared pages back");
    ksm_engine_set_run(story->engine, KSM_RUN_RUN);
}

static KsmEngine *make_engine(Story *story)
{
    g_autoptr(GError) error = NULL;
    KsmOptions options;
    KsmEngine *engine;

    ksm_options_init(&options);
    options.name = "guest";
    options.group = "story";
    options.broker = story->liar->path;
    options.start_broker = FALSE;
    options.held = story->held ? story->held : nothing_held;
    options.opaque = story;
    engine = ksm_engine_new(&options, &error);
    story->refusals += engine == NULL;
    g_assert_true((engine == NULL) == (error != NULL));
    return engine;
}

static void with_region(Story *story)
{
    write_pages(story, 0, STORY_PAGES);
    story_rounds(story, 4, "after merging");
    story->generation++;
    write_pages(story, STORY_REWRITTEN_FIRST, STORY_REWRITTEN_END);
    check(story, "after writing");
    story_rounds(story, 4, "after giving broken pages back");
    ksm_scanner_detach(story->engine, TRUE);
    check(story, "after standing aside");
    ksm_scanner_attach(story->engine);
    story_rounds(story, 2, "after coming back");
    undo(story);
    story_rounds(story, 2, "after merging again");
}

/* Whether the region is empty, or (it could not be emptied) as it was. */
static void check_removed(Story *story)
{
    if (ksm_test_page_is(story->memory, KSM_TEST_ZERO, 0)) {
        guint32 page;

        for (page = 0; page < STORY_PAGES; page++) {
            g_assert_true(ksm_test_page_is(story->memory + (gsize)page *
                                           KSM_PAGE_BYTES, KSM_TEST_ZERO,
                                           0));
        }
        return;
    }
    check(story, "after letting go");
}

static void with_engine(Story *story)
{
    g_autoptr(GError) error = NULL;

    story->region = ksm_region_add(story->engine, "ram", story->memory,
                                   STORY_BYTES, KSM_REGION_FRESH, &error);
    if (!story->region) {
        g_assert_nonnull(error);
        story->refusals++;
        write_pages(story, 0, STORY_PAGES);
        check(story, "after it was not taken over");
        return;
    }
    with_region(story);
    if (story->before_end) {
        story->before_end(story);
    }
    ksm_region_remove(story->region);
    story->region = NULL;
    check_removed(story);
}

void story_tell(Story *story)
{
    Liar *liar = story->liar;
    guint64 fds = ksm_test_count_fds();
    gint ended = g_atomic_int_get(&liar->ended);

    liar_empty(liar);
    story->memory = mmap(NULL, STORY_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(story->memory != MAP_FAILED);
    story->engine = make_engine(story);
    if (story->engine) {
        with_engine(story);
        ksm_engine_free(story->engine);
    }
    ksm_sys = ksm_test_host_sys();
    munmap(story->memory, STORY_BYTES);
    while (g_atomic_int_get(&liar->ended) - ended != story->connections) {
        g_usleep(100);
    }
    g_assert_cmpuint(ksm_test_count_fds(), ==, fds);
}

guint story_shared(void)
{
    return ksm_test_has_zero_page() ? STORY_PAGES - STORY_PAGES / 8
                                    : STORY_PAGES;
}

static void quiet(const gchar *domain, GLogLevelFlags level,
                  const gchar *message, gpointer opaque)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)opaque;
}

void story_be_quiet(void)
{
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_handler(NULL, G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE |
                      G_LOG_LEVEL_DEBUG, quiet, NULL);
}
