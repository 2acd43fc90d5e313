/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-failing-calls.c: every system call of the engine failing, at every
 * point of its life.
 *
 * One story is told again and again: an engine is made, takes memory over,
 * meets a broker, publishes, merges, has shared pages written, gives them back,
 * undoes everything, lets go.  Its calls through ksm_sys are numbered, always
 * the same way, as there is one thread; each time another one fails, alone and
 * with its followers.  After each step the memory holds what was written to it,
 * no descriptor is left at the end, and what failed costs savings only.
 *
 * The broker is liar.c, which is proper here.  UFFDIO_WAKE is left alone: it
 * cannot fail, and nobody waits here to be woken.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "connection.h"
#include "engine-private.h"
#include "giveback.h"
#include "liar.h"
#include "pace.h"
#include "page-content.h"
#include "proc-info.h"
#include "require.h"
#include "round.h"
#include "scanner.h"
#include "sys.h"

#define PAGES 32u
#define BYTES ((gsize)PAGES * KSM_PAGE_BYTES)
#define REWRITTEN_FIRST 8u
#define REWRITTEN_END 16u

/* ---- calls that fail ----------------------------------------------------- */

static struct {
    guint calls;
    guint from, to;             /* calls [from, to) fail */
    int error;
    const char *first;          /* the name of the first that failed */
} inject;

static gboolean fails(const char *name)
{
    guint call = inject.calls++;

    if (call < inject.from || call >= inject.to) {
        return FALSE;
    }
    if (inject.first == NULL) {
        inject.first = name;
    }
    return TRUE;
}

/* A wrapper of a call: its name, parameters and arguments. */
#define ODD(name, parameters, arguments)                                  \
    static int odd_##name parameters                                      \
    {                                                                     \
        return fails(#name) ? inject.error : ksm_sys_linux.name arguments; \
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

/* Every other one has moved half of the pages when it fails. */
static int odd_uffd_move(int fd, void *dst, void *src, size_t bytes,
                         size_t *moved)
{
    size_t half = bytes / 2 / KSM_PAGE_BYTES * KSM_PAGE_BYTES;

    *moved = 0;
    if (!fails("uffd_move")) {
        return ksm_sys_linux.uffd_move(fd, dst, src, bytes, moved);
    }
    if (inject.calls % 2 && half) {
        ksm_sys_linux.uffd_move(fd, dst, src, half, moved);
        return -EAGAIN;
    }
    return inject.error;
}

/*
 * Every other one has removed what it was to replace, as the kernel could; but
 * not all memory, when the engine takes it over: that ends the program.
 */
static int odd_remap_onto(void *src, size_t bytes, void *dst)
{
    if (!fails("remap_onto")) {
        return ksm_sys_linux.remap_onto(src, bytes, dst);
    }
    if (inject.calls % 2 && bytes < BYTES) {
        ksm_sys_linux.unmap(dst, bytes);
    }
    return inject.error;
}

static KsmSys table;

static void install(guint from, guint burst, int error)
{
    table = ksm_sys_linux;
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
    memset(&inject, 0, sizeof(inject));
    inject.from = from;
    inject.to = from + burst;
    inject.error = error;
    ksm_sys = &table;
}

/* ---- the story ------------------------------------------------------------ */

typedef struct Story {
    Liar *liar;
    KsmEngine *engine;
    KsmRegion *region;
    guint8 *memory;
    guint64 generation;         /* of the pages that are written again */
    guint64 shared;             /* most pages shared at a time */
    guint refusals;             /* the engine said no, with a reason */
    gint connections;           /* of the engine to the broker */
} Story;

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
    if (page >= REWRITTEN_FIRST && page < REWRITTEN_END) {
        *seed += story->generation * PAGES;
    }
}

static void write_pages(Story *story, guint32 first, guint32 end)
{
    KsmTestKind kind;
    guint64 seed;

    for (; first < end; first++) {
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

    for (page = 0; page < PAGES; page++) {
        content_of(story, page, &kind, &seed);
        if (!ksm_test_page_is(story->memory + (gsize)page * KSM_PAGE_BYTES,
                              kind, seed)) {
            g_error("page %u is wrong %s: calls %u to %u failed with %s, the "
                    "first of them %s", page, when, inject.from, inject.to,
                    g_strerror(-inject.error), inject.first);
        }
    }
    if (story->region) {
        story->shared = MAX(story->shared,
                            story->region->counts[KSM_PAGE_SHARED]);
    }
}

static void rounds(Story *story, guint count, const char *when)
{
    g_autoptr(GError) error = NULL;

    while (count--) {
        story->engine->turn_run = KSM_RUN_RUN;
        ksm_pace_begin(story->engine, TRUE);
        if (!ksm_broker_client_connected(&story->engine->broker)) {
            story->connections++;
            story->refusals += !ksm_connection_open(story->engine, &error);
            g_clear_error(&error);
        }
        ksm_round_run(story->engine);
        check(story, when);
    }
}

static void undo(Story *story)
{
    story->engine->budget = 10000;
    ksm_engine_set_run(story->engine, KSM_RUN_UNMERGE);
    story->engine->turn_run = KSM_RUN_UNMERGE;
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
    options.held = nothing_held;
    engine = ksm_engine_new(&options, &error);
    story->refusals += engine == NULL;
    g_assert_true((engine == NULL) == (error != NULL));
    return engine;
}

static void with_region(Story *story)
{
    write_pages(story, 0, PAGES);
    rounds(story, 4, "after merging");
    story->generation++;
    write_pages(story, REWRITTEN_FIRST, REWRITTEN_END);
    check(story, "after writing");
    rounds(story, 4, "after giving broken pages back");
    ksm_scanner_detach(story->engine);
    check(story, "after standing aside");
    story->engine->detached = FALSE;
    rounds(story, 2, "after coming back");
    undo(story);
    rounds(story, 2, "after merging again");
}

/* Whether the region is empty, or (it could not be emptied) as it was. */
static void check_removed(Story *story)
{
    if (ksm_test_page_is(story->memory, KSM_TEST_ZERO, 0)) {
        guint32 page;

        for (page = 0; page < PAGES; page++) {
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
                                   BYTES, KSM_REGION_FRESH, &error);
    if (!story->region) {
        g_assert_nonnull(error);
        story->refusals++;
        write_pages(story, 0, PAGES);
        check(story, "after it was not taken over");
        return;
    }
    with_region(story);
    ksm_region_remove(story->region);
    story->region = NULL;
    check_removed(story);
}

/* Whether a call failed; else all have been tried. */
static gboolean tell(Liar *liar, guint from, guint burst, int error,
                     Story *story)
{
    guint64 fds = ksm_test_count_fds();
    gint ended = g_atomic_int_get(&liar->ended);

    *story = (Story) { .liar = liar };
    story->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(story->memory != MAP_FAILED);
    install(from, burst, error);
    story->engine = make_engine(story);
    if (story->engine) {
        with_engine(story);
        ksm_engine_free(story->engine);
    }
    ksm_sys = &ksm_sys_linux;
    munmap(story->memory, BYTES);
    while (g_atomic_int_get(&liar->ended) - ended != story->connections) {
        g_usleep(100);
    }
    g_assert_cmpuint(ksm_test_count_fds(), ==, fds);
    return inject.first != NULL;
}

static void test_untroubled(void)
{
    g_autoptr(Liar) liar = NULL;
    Story story;

    if (!ksm_test_need_uffd()) {
        return;
    }
    liar = liar_new(NULL);
    g_assert_false(tell(liar, G_MAXUINT - 1, 1, -ENOMEM, &story));
    g_test_message("%u calls, %" G_GUINT64_FORMAT " pages shared",
                   inject.calls, story.shared);
    g_assert_cmpuint(story.shared, ==, PAGES - PAGES / 8);
    g_assert_cmpuint(story.refusals, ==, 0);
    g_assert_cmpuint(inject.calls, >, 200);
}

typedef struct Series {
    const char *name;
    guint burst;
    int error;
} Series;

static const Series all_series[] = {
    { "one-nomem", 1, -ENOMEM },
    { "one-again", 1, -EAGAIN },
    { "one-busy", 1, -EBUSY },
    { "two-nomem", 2, -ENOMEM },
    { "two-again", 2, -EAGAIN },
    { "three-nomem", 3, -ENOMEM },
    { "five-nomem", 5, -ENOMEM },
    { "twelve-nomem", 12, -ENOMEM },
};

static void test_series(gconstpointer opaque)
{
    const Series *series = opaque;
    g_autoptr(Liar) liar = NULL;
    guint from, refusals = 0, less = 0;
    Story story;

    if (!ksm_test_need_uffd()) {
        return;
    }
    liar = liar_new(NULL);
    for (from = 0; tell(liar, from, series->burst, series->error, &story);
         from++) {
        refusals += story.refusals > 0;
        less += story.shared < PAGES - PAGES / 8;
    }
    g_test_message("%u points; %u times something was refused, %u times less "
                   "was shared", from, refusals, less);
    g_assert_cmpuint(from, >, 200);
}

static void quiet(const gchar *domain, GLogLevelFlags level,
                  const gchar *message, gpointer opaque)
{
    (void)domain;
    (void)level;
    (void)message;
    (void)opaque;
}

int main(int argc, char **argv)
{
    guint i;

    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_handler(NULL, G_LOG_LEVEL_WARNING | G_LOG_LEVEL_DEBUG, quiet,
                      NULL);
    g_test_add_func("/failing-calls/none", test_untroubled);
    for (i = 0; i < G_N_ELEMENTS(all_series); i++) {
        g_autofree char *path = g_strconcat("/failing-calls/",
                                            all_series[i].name, NULL);

        g_test_add_data_func(path, &all_series[i], test_series);
    }
    return g_test_run();
}
