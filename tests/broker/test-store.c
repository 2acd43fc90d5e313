/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-store.c: the slot map against a plain array, and the store's file. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ksm-protocol.h"
#include "store/slot-map.h"
#include "store/store.h"

#define SLOTS 8192u
#define PAGE 4096u

/* First run of @count free entries from @from on, or NONE. */
static guint32 oracle_find(const guint8 *taken, guint32 from, guint32 end,
                           guint32 count)
{
    guint32 at, run = 0;

    for (at = from; at < end; at++) {
        run = taken[at] ? 0 : run + 1;
        if (run == count) {
            return at + 1 - count;
        }
    }
    return KSM_SLOT_MAP_NONE;
}

static void test_map_random(void)
{
    g_autoptr(KsmSlotMap) map = ksm_slot_map_new(SLOTS);
    g_autoptr(GRand) rand = g_rand_new_with_seed(31);
    g_autofree guint8 *taken = g_new0(guint8, SLOTS);
    guint32 in_use = 0;
    guint step;

    for (step = 0; step < 40000; step++) {
        guint32 count = (guint32)g_rand_int_range(rand, 1,
                                                  step % 50 ? 70 : 700);
        guint32 first = (guint32)g_rand_int_range(rand, 0, (gint)SLOTS);

        if (g_rand_boolean(rand)) {
            gboolean possible = oracle_find(taken, 0, SLOTS, count) !=
                                KSM_SLOT_MAP_NONE;

            first = ksm_slot_map_take(map, count);
            g_assert_cmpint(first != KSM_SLOT_MAP_NONE, ==, possible);
            if (possible) {
                g_assert_cmpuint(oracle_find(taken, first, first + count,
                                             count),
                                 ==, first);
                memset(taken + first, 1, count);
                in_use += count;
            }
        } else {
            guint32 end = first;

            while (end < SLOTS && taken[end] && end - first < count) {
                end++;
            }
            ksm_slot_map_give(map, first, end - first);
            memset(taken + first, 0, end - first);
            in_use -= end - first;
        }
        g_assert_cmpuint(ksm_slot_map_taken(map), ==, in_use);
    }
}

/* One after the other, and round to the start when the end is reached. */
static void test_map_next_fit(void)
{
    g_autoptr(KsmSlotMap) map = ksm_slot_map_new(SLOTS);

    g_assert_cmpuint(ksm_slot_map_take(map, 100), ==, 0);
    g_assert_cmpuint(ksm_slot_map_take(map, 50), ==, 100);
    ksm_slot_map_give(map, 0, 100);
    g_assert_cmpuint(ksm_slot_map_take(map, 10), ==, 150);
    g_assert_cmpuint(ksm_slot_map_take(map, SLOTS - 160), ==, 160);
    g_assert_cmpuint(ksm_slot_map_take(map, 101), ==, KSM_SLOT_MAP_NONE);
    g_assert_cmpuint(ksm_slot_map_take(map, 100), ==, 0);
    g_assert_cmpuint(ksm_slot_map_take(map, 1), ==, KSM_SLOT_MAP_NONE);
}

/* One page is the roster's. */
static guint64 store_blocks(const KsmStore *store)
{
    g_autoptr(GError) error = NULL;
    int fd = ksm_store_open(store, &error);
    struct stat status;

    g_assert_no_error(error);
    g_assert_cmpint(fstat(fd, &status), ==, 0);
    close(fd);
    return (guint64)status.st_blocks * 512 / PAGE - 1;
}

/* Writes @count pages of bytes @byte; returns what ksm_store_write() does. */
static guint32 store_write(KsmStore *store, guint32 first, guint32 count,
                           guint8 byte)
{
    g_autofree struct iovec *parts = g_new(struct iovec, count);
    guint8 page[PAGE];
    guint32 i;

    memset(page, byte, PAGE);
    for (i = 0; i < count; i++) {
        parts[i] = (struct iovec) { page, PAGE };
    }
    return ksm_store_write(store, first, parts, count);
}

static guint32 store_put(KsmStore *store, guint8 order, guint8 byte)
{
    KsmSlot slot = { .key = byte, .order = order };
    KsmStoreExtent extent;
    guint32 head, copies = 1u << order;

    g_assert_true(ksm_store_reserve(store, copies, copies, &extent));
    head = extent.next;
    g_assert_cmpuint(store_write(store, head, copies, byte), ==, copies);
    extent.next += copies;
    ksm_store_fill(store, head, &slot);
    ksm_store_unreserve(store, &extent);
    return head;
}

/* Freed slots leave the file, tiles as a whole, neighbours untouched. */
static void test_store_gives_back(void)
{
    KsmStoreBudget budget = { .limit = 1000 };
    g_autoptr(GError) error = NULL;
    KsmStore *store = ksm_store_new("test", 4096, &budget, &error);
    guint32 one, tile, other;

    g_assert_no_error(error);
    one = store_put(store, 0, 1);
    tile = store_put(store, 6, 2);
    other = store_put(store, 0, 3);
    g_assert_cmpuint(ksm_store_used(store), ==, 66);
    g_assert_cmpuint(store_blocks(store), ==, 66);
    g_assert_cmpuint(ksm_store_head(store, tile), ==, tile);
    g_assert_cmpuint(ksm_store_head(store, tile + 63), ==, tile);
    g_assert_cmpuint(ksm_store_head(store, other), ==, other);

    ksm_store_release(store, tile);
    g_assert_cmpuint(ksm_store_used(store), ==, 2);
    g_assert_cmpuint(budget.used, ==, 66);
    g_assert_false(ksm_store_flush(store, 100));
    g_assert_cmpuint(budget.used, ==, 2);
    g_assert_cmpuint(store_blocks(store), ==, 2);
    g_assert_cmpint(ksm_store_page(store, one)[9], ==, 1);
    g_assert_cmpint(ksm_store_page(store, other)[9], ==, 3);
    ksm_store_free(store);
    g_assert_cmpuint(budget.used, ==, 0);
}

/*
 * Contents that come and go wander through the address space; what is known of
 * the few that are there does not grow, and stays right.
 */
static void test_store_wanders(void)
{
    enum { KEPT = 100, TIMES = 20000 };
    KsmStoreBudget budget = { .limit = KEPT + 8 };
    g_autoptr(KsmStore) store = ksm_store_new("test", 16384, &budget, NULL);
    guint32 heads[KEPT];
    guint64 early = 0, seen = 0;
    guint i;

    for (i = 0; i < TIMES; i++) {
        guint at = i % KEPT;

        if (i >= KEPT) {
            g_assert_cmpuint(ksm_store_slot(store, heads[at])->key, ==,
                             (guint8)(i - KEPT));
            ksm_store_release(store, heads[at]);
            ksm_store_flush(store, 100);
        }
        heads[at] = store_put(store, 0, (guint8)i);
        seen = MAX(seen, heads[at]);
        early = i == 2 * KEPT ? ksm_store_metadata_bytes(store) : early;
    }
    g_assert_cmpuint(seen, >, 16000);
    g_assert_cmpuint(ksm_store_metadata_bytes(store), <=,
                     early + 16384 / 8 + 2 * PAGE);
}

static void test_store_flush_in_steps(void)
{
    KsmStoreBudget budget = { .limit = 4096 };
    g_autoptr(KsmStore) store = ksm_store_new("test", 4096, &budget, NULL);
    guint steps = 1;
    guint32 slot;

    for (slot = 0; slot < 1000; slot++) {
        g_assert_cmpuint(store_put(store, 0, 7), ==, slot);
    }
    for (slot = 0; slot < 1000; slot++) {
        ksm_store_release(store, (slot * 7 + 3) % 1000);
    }
    while (ksm_store_flush(store, 100)) {
        steps++;
    }
    g_assert_cmpuint(steps, ==, 10);
    g_assert_cmpuint(budget.used, ==, 0);
    g_assert_cmpuint(store_blocks(store), ==, 0);
}

/* Tiles that were released go back in turns, as each is many slots. */
static void test_flush_tiles(void)
{
    enum { TILES = 128, COPIES = 1 << KSM_MAX_TILE_ORDER };
    KsmStoreBudget budget = { .limit = TILES * COPIES };
    g_autoptr(KsmStore) store = ksm_store_new("test", 2 * TILES * COPIES,
                                              &budget, NULL);
    guint turns = 0, i;

    for (i = 0; i < TILES; i++) {
        const KsmSlot slot = { .key = i, .order = KSM_MAX_TILE_ORDER };
        KsmStoreExtent extent;

        g_assert_true(ksm_store_reserve(store, COPIES, COPIES, &extent));
        ksm_store_fill(store, extent.next, &slot);
        ksm_store_release(store, extent.next);
    }
    do {
        guint64 before = budget.used;

        turns++;
        ksm_store_flush(store, TILES);
        g_assert_cmpuint(before - budget.used, >, 0);
        g_assert_cmpuint(before - budget.used, <=, 2048);
    } while (budget.used > 0);
    g_assert_cmpuint(turns, ==, TILES * COPIES / 2048);
}

/* The budget is kept over all stores, and freed slots count until given. */
static void test_store_budget(void)
{
    KsmStoreBudget budget = { .limit = 100 };
    g_autoptr(KsmStore) a = ksm_store_new("test", 4096, &budget, NULL);
    g_autoptr(KsmStore) b = ksm_store_new("test", 4096, &budget, NULL);
    KsmStoreExtent extent;
    guint32 tile = store_put(a, 6, 1);

    g_assert_false(ksm_store_reserve(b, 37, 200, &extent));
    g_assert_true(ksm_store_reserve(b, 1, 200, &extent));
    g_assert_cmpuint(extent.end - extent.next, <=, 36);
    g_assert_cmpuint(extent.end - extent.next, >=, 25);
    ksm_store_unreserve(b, &extent);
    g_assert_cmpuint(budget.used, ==, 64);
    ksm_store_release(a, tile);
    g_assert_true(ksm_store_reserve(a, 100, 100, &extent));
    ksm_store_unreserve(a, &extent);
    g_assert_cmpuint(budget.used, ==, 0);
}

/* The host has room for a part: whole pages count, and those are right. */
static void test_store_write_fails(void)
{
    KsmStoreBudget budget = { .limit = 100 };
    g_autoptr(KsmStore) store = ksm_store_new("test", 4096, &budget, NULL);
    struct rlimit before, limit;
    KsmStoreExtent extent;
    guint32 i, written, none;

    g_assert_true(ksm_store_reserve(store, 20, 20, &extent));
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    limit = (struct rlimit) { (extent.next + 7) * PAGE + 99, before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    written = store_write(store, extent.next, 20, 9);
    none = store_write(store, extent.next + 8, 5, 9);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_cmpuint(written, ==, 7);
    g_assert_cmpuint(none, ==, 0);
    for (i = 0; i < 20; i++) {
        g_assert_cmpint(ksm_store_page(store, extent.next + i)[4000], ==,
                        i < 7 ? 9 : 0);
    }
    ksm_store_unreserve(store, &extent);
}

/* What a client gets cannot be changed, resized or mapped for writing. */
static void test_store_descriptor(void)
{
    KsmStoreBudget budget = { .limit = 100 };
    g_autoptr(KsmStore) store = ksm_store_new("test", 4096, &budget, NULL);
    guint32 slot = store_put(store, 0, 5);
    int fd = ksm_store_open(store, NULL);
    gsize offset = (gsize)slot * PAGE;
    guint8 byte = 0;
    guint8 *map;

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, &byte, 1, (off_t)offset), ==, 1);
    g_assert_cmpint(byte, ==, 5);
    g_assert_cmpint(pwrite(fd, &byte, 1, (off_t)offset), ==, -1);
    g_assert_cmpint(ftruncate(fd, 0), ==, -1);
    g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                              PAGE),
                    ==, -1);
    g_assert_true(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
                  MAP_FAILED);
    map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
               (off_t)offset);
    g_assert_true(map != MAP_FAILED);
    map[0] = 99;
    g_assert_cmpint(*ksm_store_page(store, slot), ==, 5);
    munmap(map, PAGE);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/slot-map/random", test_map_random);
    g_test_add_func("/slot-map/next-fit", test_map_next_fit);
    g_test_add_func("/store/gives-back", test_store_gives_back);
    g_test_add_func("/store/wanders", test_store_wanders);
    g_test_add_func("/store/flush-in-steps", test_store_flush_in_steps);
    g_test_add_func("/store/flush-tiles", test_flush_tiles);
    g_test_add_func("/store/budget", test_store_budget);
    g_test_add_func("/store/write-fails", test_store_write_fails);
    g_test_add_func("/store/descriptor", test_store_descriptor);
    return g_test_run();
}
