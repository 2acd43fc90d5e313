/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-block.c: when blocks are parked, for how long, and what is counted in
 * them.
 */
#include <string.h>

#include "memory/ram.h"

#define KEEP 64u

/* A round in which so many pages of small size were found written. */
static KsmBlockVerdict pass_round(KsmBlock *block, guint16 written)
{
    block->written = written;
    return ksm_block_judge(block, KEEP);
}

static void park(KsmBlock *block, guint rounds)
{
    guint i;

    ksm_block_park(block);
    for (i = 1; i < rounds; i++) {
        g_assert_false(ksm_block_rest_over(block));
        g_assert_cmpint(pass_round(block, 0), ==, KSM_BLOCK_GOES_ON);
    }
    g_assert_true(ksm_block_rest_over(block));
    /* All of it counts as written in this round, which tells nothing. */
    g_assert_cmpint(pass_round(block, KSM_BLOCK_PAGES), ==, KSM_BLOCK_GOES_ON);
}

/* Each rest is twice as long, up to a bound; an idle block starts anew. */
static void test_parked(void)
{
    static const guint rounds[] = { 8, 16, 32, 64, 128, 128, 128 };
    KsmBlock block = { .flags = KSM_BLOCK_HUGE };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rounds); i++) {
        g_assert_cmpint(pass_round(&block, KSM_BLOCK_PAGES), ==,
                        KSM_BLOCK_SHALL_REST);
        park(&block, rounds[i]);
    }
    for (i = 0; i < KSM_BLOCK_ROUNDS; i++) {
        g_assert_cmpint(pass_round(&block, 0), ==, KSM_BLOCK_GOES_ON);
    }
    g_assert_cmpint(pass_round(&block, KSM_BLOCK_PAGES), ==,
                    KSM_BLOCK_SHALL_REST);
    park(&block, 8);
}

/* Written here and there: looked through first. */
static void test_written_little(void)
{
    KsmBlock block = { .flags = KSM_BLOCK_HUGE };
    guint i;

    for (i = 1; i < KSM_BLOCK_ROUNDS; i++) {
        g_assert_cmpint(pass_round(&block, i == 1 ? 3 : 0), ==,
                        KSM_BLOCK_GOES_ON);
    }
    g_assert_cmpint(pass_round(&block, 0), ==, KSM_BLOCK_SHALL_REST);
}

/* Hot at once: half is written, or too little is unwritten. */
static void test_written_much(void)
{
    static const guint keep[] = { 1, KEEP, KSM_BLOCK_HOT, 400 };
    static const guint16 hot[] = { 256, 256, 256, 112 };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(hot); i++) {
        KsmBlock block = { .flags = KSM_BLOCK_HUGE,
                           .written = (guint16)(hot[i] - 1) };
        KsmBlock other = { .flags = KSM_BLOCK_HUGE, .written = hot[i] };

        g_assert_cmpint(ksm_block_judge(&block, keep[i]), ==,
                        KSM_BLOCK_GOES_ON);
        g_assert_cmpint(ksm_block_judge(&other, keep[i]), ==,
                        KSM_BLOCK_SHALL_REST);
    }
}

/* Only what can be a huge page, and was one, rests. */
static void test_not_whole(void)
{
    KsmBlock small = { 0 };
    KsmBlock shared = { .flags = KSM_BLOCK_HUGE, .away = KEEP / 2 + 1 };
    guint i;

    for (i = 0; i < 2 * KSM_BLOCK_ROUNDS; i++) {
        g_assert_cmpint(pass_round(&small, 100), ==, KSM_BLOCK_GOES_ON);
        g_assert_cmpint(pass_round(&shared, 100), ==, KSM_BLOCK_GOES_ON);
    }
    shared.away = KEEP / 2; /* some are given back */
    for (i = 1; i < KSM_BLOCK_ROUNDS; i++) {
        g_assert_cmpint(pass_round(&shared, 100), ==, KSM_BLOCK_GOES_ON);
    }
    g_assert_cmpint(pass_round(&shared, 100), ==, KSM_BLOCK_SHALL_REST);
}

#define HEAD 100u
#define TAIL 50u
#define BLOCKS 5u
#define PAGES (HEAD + BLOCKS * KSM_BLOCK_PAGES + TAIL)

static void make_region(KsmRegion *region, gboolean head)
{
    guint i;

    memset(region, 0, sizeof(*region));
    region->pages = PAGES - (head ? 0 : HEAD);
    region->state = g_new0(guint8, region->pages);
    region->wait = g_new0(guint8, region->pages);
    region->counts[KSM_PAGE_UNTOUCHED] = region->pages;
    region->block_first = head ? HEAD : 0;
    region->block_count = BLOCKS;
    region->blocks = g_new0(KsmBlock, BLOCKS);
    for (i = 0; i < BLOCKS; i++) {
        region->blocks[i].away = KSM_BLOCK_PAGES;
    }
}

static void free_region(KsmRegion *region)
{
    g_free(region->state);
    g_free(region->wait);
    g_free(region->blocks);
}

/* Counted again from the states, after changes at random. */
static void check_counts(KsmRegion *region)
{
    guint32 page, kept_all = 0;
    guint i;

    for (i = 0; i < BLOCKS; i++) {
        guint away = 0, kept = 0;

        page = region->block_first + i * KSM_BLOCK_PAGES;
        for (; ksm_ram_block(region, page) == &region->blocks[i]; page++) {
            guint8 word = region->state[page];

            away += ksm_page_state_is_away(ksm_page_state(word));
            kept += ksm_page_is_spared(word);
        }
        g_assert_cmpuint(page, ==,
                         region->block_first + (i + 1) * KSM_BLOCK_PAGES);
        g_assert_cmpuint(region->blocks[i].away, ==, away);
        g_assert_cmpuint(region->blocks[i].kept, ==, kept);
        kept_all += kept;
    }
    g_assert_cmpuint(region->kept, ==, kept_all);
}

static void test_counts(gconstpointer head)
{
    KsmRegion region;
    guint i;

    make_region(&region, head != NULL);
    for (i = 0; i < 50000; i++) {
        guint32 page = (guint32)g_test_rand_int_range(0, (gint)region.pages);
        gint state = g_test_rand_int_range(0, KSM_PAGE_STATES + 1);

        if (state == KSM_PAGE_STATES) {
            ksm_ram_keep(&region, page);
        } else {
            ksm_ram_set_state(&region, page, (KsmPageState)state);
        }
    }
    check_counts(&region);
    free_region(&region);
}

/* Every page that is in no parked block is found, and no other. */
static void test_armed(gconstpointer head)
{
    guint pattern, i;

    for (pattern = 0; pattern < 1u << BLOCKS; pattern++) {
        guint32 page = 0, first, end;
        KsmRegion region;

        make_region(&region, head != NULL);
        for (i = 0; i < BLOCKS; i++) {
            region.blocks[i].parked_rounds = (pattern >> i) & 1;
            region.parked += (pattern >> i) & 1;
        }
        for (first = ksm_ram_find_armed(&region, 0, &end); first < region.pages;
             first = ksm_ram_find_armed(&region, end, &end)) {
            g_assert_cmpuint(end, >, first);
            for (; page < first; page++) {
                g_assert_true(ksm_ram_block(&region, page)->parked_rounds);
            }
            for (; page < end; page++) {
                KsmBlock *block = ksm_ram_block(&region, page);

                g_assert_true(!block || !block->parked_rounds);
            }
        }
        for (; page < region.pages; page++) {
            g_assert_true(ksm_ram_block(&region, page)->parked_rounds);
        }
        free_region(&region);
    }
}

int main(int argc, char **argv)
{
    static const gboolean head = TRUE;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/parked", test_parked);
    g_test_add_func("/block/written-little", test_written_little);
    g_test_add_func("/block/written-much", test_written_much);
    g_test_add_func("/block/not-whole", test_not_whole);
    g_test_add_data_func("/block/counts", NULL, test_counts);
    g_test_add_data_func("/block/counts-unaligned", &head, test_counts);
    g_test_add_data_func("/block/armed", NULL, test_armed);
    g_test_add_data_func("/block/armed-unaligned", &head, test_armed);
    return g_test_run();
}
