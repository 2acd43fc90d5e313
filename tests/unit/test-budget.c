/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-budget.c: counting mappings and ranges, against counting them naively.
 */
#include <string.h>

#include "core/budget.h"
#include "core/engine-private.h"
#include "memory/account.h"
#include "memory/ranges.h"
#include "sys.h"

#define PAGES 200u

static KsmRegion *make_region(void)
{
    KsmRegion *region = g_new0(KsmRegion, 1);

    region->pages = PAGES;
    region->state = g_new0(guint8, PAGES);
    region->wait = g_new0(guint8, PAGES);
    region->slot = g_new0(guint32, PAGES);
    region->counts[KSM_PAGE_UNTOUCHED] = PAGES;
    return region;
}

static void free_region(KsmRegion *region)
{
    g_free(region->state);
    g_free(region->wait);
    g_free(region->slot);
    g_free(region);
}

/*
 * What the kernel would make of it: one mapping per (kind, offset) stretch;
 * *stores of them are of the store.
 */
static guint32 count_mappings(const KsmRegion *region, guint32 *stores)
{
    guint32 page, n = 0;
    gint64 last = 0;

    *stores = 0;
    for (page = 0; page < PAGES; page++) {
        gint64 key =
            ksm_page_in_store(region->state[page]) ?
                (gint64)region->slot[page] - page +
                    (region->state[page] & KSM_PAGE_ORPHANED ? 1000000 : 0) :
                G_MAXINT64;

        if (page == 0 || key != last) {
            n++;
            *stores += ksm_page_in_store(region->state[page]);
        }
        last = key;
    }
    return n;
}

static void share(KsmRegion *region, guint32 first, guint32 count, guint32 slot)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        ksm_ram_set_state(region, first + i, KSM_PAGE_SHARED);
        region->slot[first + i] = slot + i;
    }
}

static gboolean all_private(const KsmRegion *region, guint32 first,
                            guint32 count)
{
    guint32 i;

    for (i = first; i < first + count; i++) {
        if (ksm_page_in_store(region->state[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Random merges: the predicted change, and the counted one, are the real one. */
static void test_delta(void)
{
    KsmRegion *region = make_region();
    guint32 stores_before, stores_after, before, after, tries, all_stores;
    guint64 mappings = 1, stores = 0;
    guint checked = 0;

    for (tries = 0; tries < 5000; tries++) {
        guint32 first = g_test_rand_int_range(0, PAGES);
        guint32 count = g_test_rand_int_range(1, MIN(12, PAGES - first + 1));
        guint32 slot = g_test_rand_int_range(0, 4) ?
                           first + 7 :
                           (guint32)g_test_rand_int_range(0, 1000);
        gint64 delta;

        if (!all_private(region, first, count)) {
            if (ksm_page_in_store(region->state[first])) {
                before = ksm_account_borders(region, first, first + 1,
                                             &stores_before);
                ksm_ram_set_state(region, first, KSM_PAGE_PRIVATE);
                after = ksm_account_borders(region, first, first + 1,
                                            &stores_after);
                mappings += (guint64)after - before;
                stores += (guint64)stores_after - stores_before;
            }
            continue;
        }
        delta = ksm_account_delta(region, first, count, slot);
        before = ksm_account_borders(region, first, first + count,
                                     &stores_before);
        share(region, first, count, slot);
        after = ksm_account_borders(region, first, first + count,
                                    &stores_after);
        g_assert_cmpint(delta, ==, (gint64)after - before);
        mappings += (guint64)after - before;
        stores += (guint64)stores_after - stores_before;
        g_assert_cmpuint(mappings, ==, count_mappings(region, &all_stores));
        g_assert_cmpuint(stores, ==, all_stores);
        checked++;
    }
    g_assert_cmpuint(checked, >, 100);
    for (tries = 0; tries < PAGES; tries++) {
        ksm_ram_set_state(region, tries, KSM_PAGE_PRIVATE);
    }
    g_assert_cmpuint(region->counts[KSM_PAGE_PRIVATE], ==, PAGES);
    free_region(region);
}

/* An engine with one region, which needs so many mappings. */
static void make_engine(KsmEngine *engine, guint64 used, guint64 budget)
{
    KsmRegion *region = make_region();

    memset(engine, 0, sizeof(*engine));
    region->mappings = used;
    engine->budget.allowed = budget;
    engine->ram.regions =
        g_ptr_array_new_with_free_func((GDestroyNotify)free_region);
    g_ptr_array_add(engine->ram.regions, region);
}

static void free_engine(KsmEngine *engine)
{
    ksm_budget_leave(engine);
    g_ptr_array_free(engine->ram.regions, TRUE);
}

static gboolean allows(guint64 used, guint64 budget, guint32 length,
                       gint64 delta)
{
    KsmEngine engine;
    gboolean allowed;

    make_engine(&engine, used, budget);
    allowed = ksm_budget_allows(&engine, length, delta);
    free_engine(&engine);
    return allowed;
}

/* Short runs leave room for long ones; what saves mappings always may. */
static void test_allows(void)
{
    g_assert_true(allows(100, 100, 1, 0));
    g_assert_true(allows(200, 100, 1, -1));
    g_assert_false(allows(99, 100, KSM_BUDGET_LONG, 2));
    g_assert_true(allows(98, 100, KSM_BUDGET_LONG, 2));
    g_assert_false(allows(74, 100, 1, 2));
    g_assert_true(allows(73, 100, 1, 2));
    g_assert_true(allows(90, 100, 8, 2));
}

static unsigned max_map_count(void)
{
    return 20000;
}

static unsigned count_mappings_of_process(G_GNUC_UNUSED const int *stop)
{
    return 10000;
}

/* What another engine of the process uses is not there, unless to shrink. */
static void test_allows_all(void)
{
    KsmSys table = ksm_sys_linux;
    KsmEngine engine, other;
    guint64 left;

    table.max_map_count = max_map_count;
    table.count_mappings = count_mappings_of_process;
    ksm_sys = &table;
    make_engine(&engine, 100, 1000000);
    make_engine(&other, 0, 1000000);
    left = ksm_budget_compute(&engine) - 100;
    g_assert_cmpuint(left, <, 20000);
    g_assert_true(ksm_budget_allows(&engine, 1, (gint64)left));
    g_assert_false(ksm_budget_allows(&engine, 1, (gint64)left + 1));
    ((KsmRegion *)g_ptr_array_index(other.ram.regions, 0))->mappings = left;
    ksm_budget_tell_regions(&other);
    g_assert_false(ksm_budget_allows(&engine, KSM_BUDGET_LONG, 1));
    g_assert_true(ksm_budget_allows(&engine, KSM_BUDGET_LONG, 0));
    engine.budget.shrinking = TRUE;
    g_assert_true(ksm_budget_allows(&engine, KSM_BUDGET_LONG, 1));
    free_engine(&other);
    free_engine(&engine);
    ksm_sys = &ksm_sys_linux;
}

static void test_ranges(void)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(KsmRange));

    ksm_ranges_add(ranges, 5);
    ksm_ranges_add(ranges, 6);
    ksm_ranges_add(ranges, 8);
    g_assert_cmpuint(ranges->len, ==, 2);
    g_assert_cmpuint(g_array_index(ranges, KsmRange, 0).first, ==, 5);
    g_assert_cmpuint(g_array_index(ranges, KsmRange, 0).count, ==, 2);
    g_assert_cmpuint(g_array_index(ranges, KsmRange, 1).first, ==, 8);
}

/* A page written soon after it was looked at waits longer each time. */
static void test_back_off(void)
{
    KsmRegion *region = make_region();
    guint8 round;
    guint wait = 0;

    for (round = 0; round < 20; round++) {
        ksm_ram_set_state(region, 0, KSM_PAGE_ZERO);
        region->wait[0] = round;
        ksm_ram_note_written(region, 0, round, 1);
        g_assert_cmpuint(region->wait[0], >=, wait);
        wait = region->wait[0];
    }
    g_assert_cmpuint(wait, ==, 1 + (1u << KSM_PAGE_MAX_LEVEL));
    /* and one that rested long comes down again */
    ksm_ram_set_state(region, 0, KSM_PAGE_ZERO);
    region->wait[0] = 0;
    ksm_ram_note_written(region, 0, 100, 1);
    g_assert_cmpuint(region->wait[0], <, wait);
    free_region(region);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/budget/delta", test_delta);
    g_test_add_func("/budget/allows", test_allows);
    g_test_add_func("/budget/allows-all", test_allows_all);
    g_test_add_func("/ranges/add", test_ranges);
    g_test_add_func("/ram/back-off", test_back_off);
    return g_test_run();
}
