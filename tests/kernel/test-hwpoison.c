/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-hwpoison.c: a page of guest memory that fails, at every point of the
 * engine's life.
 *
 * A scenario is repeated (scenario.h).  Each time a page's memory fails at a
 * different point: before each system call, before each reply of the broker,
 * and inside each window: where the page lies at that moment, which may be the
 * staging area, or in its shadow.  From then on it either holds what it held or
 * fails for the guest as well; never does it hold anything else, and all other
 * pages go on.  Before the end it is discarded, and can be used again.
 */
#include <string.h>
#include <unistd.h>

#include "page-content.h"
#include "poison.h"
#include "require.h"
#include "scenario.h"
#include "core/stats.h"

typedef enum Place {
    PLACE_ITS_OWN, /* wherever it is */
    PLACE_SHADOW,
} Place;

static struct {
    int uffd;
    guint32 page;
    Place place;
    guint at;         /* the point at which it fails */
    guint points;     /* so far */
    const char *name; /* of that point */
    Scenario *scenario;
    guint8 *where; /* in a window; else NULL: in the guest */
} fail;

/* ---- points --------------------------------------------------------------- */

static guint8 *address(void)
{
    gsize offset = (gsize)fail.page * KSM_PAGE_BYTES;

    if (fail.place == PLACE_SHADOW) {
        return fail.scenario->region->shadow + offset;
    }
    return fail.where ? fail.where : fail.scenario->memory + offset;
}

/* One thread at a time: others wait for it. */
static int point(const char *name)
{
    if (!fail.scenario || !fail.scenario->region) {
        return 0;
    }
    if (fail.points++ == fail.at) {
        fail.name = name;
        ksm_test_poison(fail.uffd, address());
    }
    return 0;
}

static void before_answer(FakeBroker *fake, const FakeBrokerPacket *request,
                          FakeBrokerReply *reply)
{
    (void)fake;
    (void)request;
    (void)reply;
    point("answer");
}

static gboolean none_held(const void *addr, gsize bytes, void *scenario)
{
    (void)addr;
    (void)bytes;
    (void)scenario;
    point("held");
    return FALSE;
}

/* Whether the page is among those at `from`; it goes to `to` with them. */
static void follow(guint8 *to, guint8 *from, size_t bytes)
{
    guint8 *now;

    if (!fail.scenario || !fail.scenario->region) {
        return;
    }
    now = fail.where ?
              fail.where :
              fail.scenario->memory + (gsize)fail.page * KSM_PAGE_BYTES;
    if (now >= from && now < from + bytes) {
        now = to + (now - from);
        fail.where = now == fail.scenario->memory +
                                 (gsize)fail.page * KSM_PAGE_BYTES ?
                         NULL :
                         now;
    }
}

static int following_move(int fd, void *dst, void *src, size_t bytes,
                          size_t *moved)
{
    int ret;

    point("uffd_move");
    ret = ksm_sys_linux.uffd_move(fd, dst, src, bytes, moved);
    follow(dst, src, *moved);
    return ret;
}

static int following_remap(void *src, size_t bytes, void *dst)
{
    int ret;

    point("remap_onto");
    ret = ksm_sys_linux.remap_onto(src, bytes, dst);
    if (!ret) {
        follow(dst, src, bytes);
    }
    return ret;
}

/* Whether the page lies there, and not in its place. */
static gboolean lies_in(const guint8 *from, size_t bytes)
{
    return fail.where && fail.where >= from && fail.where < from + bytes;
}

/* What was isolated and not put back has been replaced. */
static int following_advise(void *addr, size_t bytes, int advice)
{
    guint8 *from = addr;

    point("advise");
    if ((advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED) &&
        lies_in(from, bytes)) {
        fail.where = NULL;
    }
    return ksm_sys_linux.advise(addr, bytes, advice);
}

/*
 * A mapping in the page's place: what is in staging is not wanted any more; or
 * in the place of staging, where what was not put back ends.
 */
static int following_map(void *addr, size_t bytes, int prot, int flags, int fd,
                         uint64_t offset, void **mapped)
{
    guint8 *from = addr;
    int ret;

    point("map");
    ret = ksm_sys_linux.map(addr, bytes, prot, flags, fd, offset, mapped);
    if (!ret && fail.scenario && fail.scenario->region) {
        guint8 *own = fail.scenario->memory + (gsize)fail.page * KSM_PAGE_BYTES;

        if ((own >= from && own < from + bytes) || lies_in(from, bytes)) {
            fail.where = NULL;
        }
    }
    return ret;
}

/* ---- the scenario -------------------------------------------------------------- */

static char *trouble(void)
{
    return g_strdup_printf("page %u failed %s, at point %u, before %s",
                           fail.page,
                           fail.place == PLACE_SHADOW ? "in the shadow" :
                                                        "where it was",
                           fail.at, fail.name ?: "nothing");
}

static gboolean has_failed(Scenario *scenario, guint32 page)
{
    return page == fail.page &&
           !ksm_test_reads(scenario->memory + (gsize)page * KSM_PAGE_BYTES);
}

typedef struct Sums {
    guint failed;  /* times the page was lost to the guest */
    guint noticed; /* of these, by the engine as well */
    guint shared;  /* all other pages were shared */
} Sums;

static Sums sums;

/* The page is marked only if it fails; discarded, it is as good as new. */
static void before_end(Scenario *scenario)
{
    gboolean failed = has_failed(scenario, fail.page);
    KsmRegion *region = scenario->region;
    guint8 *page = scenario->memory + (gsize)fail.page * KSM_PAGE_BYTES;
    KsmStats stats;

    ksm_stats_collect(scenario->engine, &stats);
    g_assert_cmpuint(stats.pages_hwpoison, <=, failed);
    sums.failed += failed;
    sums.noticed += stats.pages_hwpoison > 0;
    sums.shared += scenario->shared >= scenario_shared() - 1;
    fail.scenario = NULL; /* no further points */
    if (!failed) {
        return;
    }
    ksm_region_discard(region, (guint64)fail.page * KSM_PAGE_BYTES,
                       KSM_PAGE_BYTES);
    g_assert_true(ksm_test_page_is(page, KSM_TEST_ZERO, 0));
    scenario_rounds(scenario, 1, NULL);
    g_assert_cmpuint(region->hwpoison, ==, 0);
    ksm_test_page_make(page, KSM_TEST_SEEDED, 4711);
    scenario_rounds(scenario, 3, NULL);
    g_assert_true(ksm_test_page_is(page, KSM_TEST_SEEDED, 4711));
    g_assert_cmpint(ksm_page_state(region->state[fail.page]), ==,
                    KSM_PAGE_SHARED);
    memset(page, 0, KSM_PAGE_BYTES);
}

/* Whether there was such a point; else all have been tried. */
static gboolean tell(FakeBroker *fake, guint32 page, Place place, guint at)
{
    Scenario scenario = {
        .fake = fake,
        .trouble = trouble,
        .is_lost = has_failed,
        .dma_in_flight = none_held,
        .before_end = before_end,
    };
    KsmSys *calls = scenario_calls(point);

    calls->uffd_move = following_move;
    calls->remap_onto = following_remap;
    calls->advise = following_advise;
    calls->map = following_map;
    fail.page = page;
    fail.place = place;
    fail.at = at;
    fail.points = 0;
    fail.name = NULL;
    fail.where = NULL;
    fail.scenario = &scenario;
    scenario_tell(&scenario);
    return fail.name != NULL;
}

typedef struct Row {
    const char *name;
    guint32 page;
    Place place;
} Row;

/* Alone in its window or amid a run; written again or not; a zero page. */
static const Row all_rows[] = {
    { "first-of-a-run", 0, PLACE_ITS_OWN },
    { "inside-a-run", 9, PLACE_ITS_OWN },
    { "zero", 5, PLACE_ITS_OWN },
    { "last", SCENARIO_PAGES - 1, PLACE_ITS_OWN },
    { "shadow", 9, PLACE_SHADOW },
    { "shadow-of-the-first", 0, PLACE_SHADOW },
};

static void test_row(gconstpointer opaque)
{
    const Row *row = opaque;
    g_autoptr(FakeBroker) fake = NULL;
    guint at;

    if (!ksm_test_need_uffd()) {
        return;
    }
    fail.uffd = ksm_test_poison_open();
    if (fail.uffd < 0) {
        ksm_test_lacks("uffd", "the kernel has no UFFDIO_POISON (Linux 6.6)");
        return;
    }
    ksm_test_sigbus_install(ksm_handle_sigbus);
    fake = fake_broker_new(before_answer);
    memset(&sums, 0, sizeof(sums));
    for (at = 0; tell(fake, row->page, row->place, at); at++) {
    }
    g_test_message("%u points: the page failed for the guest %u times, %u "
                   "times the engine had found out; %u times all others were "
                   "shared",
                   at, sums.failed, sums.noticed, sums.shared);
    g_assert_cmpuint(at, >, 200);
    g_assert_cmpuint(sums.failed, >, 0);
    g_assert_cmpuint(sums.shared, >, at / 2);
    close(fail.uffd);
}

int main(int argc, char **argv)
{
    guint i;

    g_test_init(&argc, &argv, NULL);
    scenario_be_quiet();
    for (i = 0; i < G_N_ELEMENTS(all_rows); i++) {
        g_autofree char *path = g_strconcat("/hwpoison/", all_rows[i].name,
                                            NULL);

        g_test_add_data_func(path, &all_rows[i], test_row);
    }
    return g_test_run();
}
