/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * huge.c: keeps huge pages whole if splitting them would gain little.
 *
 * Two things split a huge page: sharing one of its pages, and the first write
 * after it was armed (the kernel resolves that in page table entries).  With
 * small pages, a memory-bound guest loses more than sharing a few of them
 * saves, because nested paging multiplies the cost of its address
 * translations.  So with keep_huge = N
 *   - *few duplicates*: a block that is whole and huge is left alone while at
 *     most N of its pages are duplicates or zeros.  Their slots and listings
 *     are released at the broker, and the pages are marked
 *     KSM_PAGE_SPARED_HUGE.  They are not looked up again until they are
 *     written or the block is found split: because more than N of its pages
 *     match, or for any other reason (swap, discarding);
 *   - *hot blocks*: a block that is written and has no more than N duplicates
 *     is parked (left unarmed) for some rounds (block.c) and made a huge page
 *     again by MADV_COLLAPSE.  khugepaged would never do that: it skips armed
 *     pages, and takes ten seconds for 16 MiB.  For this, up to N / 2 pages
 *     that are still shared or given back from earlier are made anonymous
 *     again.
 *
 * A page that is not armed must never be mistaken for unwritten.  A parked
 * block is not swept, so none of its pages can become idle, and it is not
 * scanned (ksm_ram_find_armed()).  When it is armed again, all of its pages
 * are recorded as written in that round, whatever the kernel reports (it
 * reports nothing about pages that were swapped out meanwhile):
 * ksm_huge_wake().  Pages that are listed when the parking begins stay listed,
 * so that guests whose blocks are parked alternately find each other.  As
 * between two rounds, a page may have been written when its result arrives,
 * and the comparison in the window decides.  So even without all this no byte
 * would be lost: only savings are at stake.
 *
 * Collapsing moves pages.  The kernel does that like any migration, under its
 * own locks: it skips a block if a page of it has references that it cannot
 * account for (DMA, O_DIRECT), is armed, or is missing.  It is done here
 * outside of windows, never while the engine stands aside, within the
 * scanner's CPU share, and for KSM_COLLAPSE_BLOCKS at a time, because the
 * fixed cost of a call is large (it drains per-CPU lists).  The guest's faults
 * wait for the copy of one block at most.
 *
 * Thread: the scanner's, under the work lock.
 */
#include "pages/huge.h"

#include <string.h>

#include "core/pace.h"
#include "core/releases.h"
#include "memory/block.h"
#include "memory/page-state.h"
#include "memory/ram.h"
#include "memory/region.h"
#include "memory/tracker.h"
#include "pages/giveback.h"
#include "pages/waits.h"
#include "pages/written.h"
#include "sys.h"

/* Maximum blocks collapsed by one call, and in one round. */
#define KSM_COLLAPSE_BLOCKS 8u
#define KSM_COLLAPSE_ROUND 256u
/* Rounds between checks whether blocks with kept pages are still huge. */
#define KSM_RECHECK_ROUNDS 16u

static guint32 first_page(const KsmRegion *region, guint32 block_index)
{
    return region->block_first + block_index * KSM_BLOCK_PAGES;
}

/* The current keep_huge; 0: off. */
static guint keep_of(KsmEngine *engine)
{
    return engine->turn.run == KSM_RUN_UNMERGE ?
               0 :
               ksm_engine_get_keep_huge(engine);
}

gboolean ksm_huge_weighs(KsmEngine *engine)
{
    return keep_of(engine) > 0;
}

void ksm_huge_note_written(KsmRegion *region, guint32 first, guint32 end,
                           gboolean huge)
{
    guint32 page;

    for (page = first; page < end; page++) {
        KsmBlock *block = ksm_ram_block(region, page);

        if (block && huge) {
            block->flags |= KSM_BLOCK_HUGE;
        } else if (block && block->written < KSM_BLOCK_PAGES &&
                   ksm_page_state(region->state[page]) != KSM_PAGE_UNTOUCHED) {
            block->written++;
        }
    }
}

/*
 * Records all of its pages as written, because they were not scanned while the
 * block was parked.  Pages whose memory has failed keep their mark.
 */
static void note_all_written(KsmEngine *engine, KsmRegion *region,
                             guint32 block_index)
{
    guint32 page = first_page(region, block_index);
    guint32 end = page + KSM_BLOCK_PAGES;

    for (; page < end; page++) {
        if (!ksm_page_state_is_away(ksm_page_state(region->state[page])) &&
            !(region->state[page] & KSM_PAGE_HWPOISON)) {
            ksm_written_note(engine, region, page);
        }
    }
}

/* Pages kept for the block's sake become due for lookup in the next sweep. */
static void keep_no_more(KsmRegion *region, guint32 block_index)
{
    guint32 page = first_page(region, block_index);
    guint32 end = page + KSM_BLOCK_PAGES;

    for (; page < end && region->blocks[block_index].kept; page++) {
        if (ksm_page_is_spared(region->state[page])) {
            ksm_ram_retry(region, page);
        }
    }
}

void ksm_huge_wake(KsmEngine *engine, KsmRegion *region)
{
    guint keep = keep_of(engine);
    guint32 i;

    if (!region->parked) {
        return;
    }
    for (i = 0; i < region->block_count; i++) {
        KsmBlock *block = &region->blocks[i];

        if (block->parked_rounds && (!keep || !ksm_block_is_whole(block))) {
            block->parked_rounds = 1;
        }
        if (ksm_block_rest_over(block)) {
            region->parked--;
            note_all_written(engine, region, i);
        }
    }
}

static gboolean is_huge(KsmEngine *engine, KsmRegion *region,
                        guint32 block_index)
{
    KsmBlock *block = &region->blocks[block_index];

    if (ksm_tracker_is_huge(&engine->tracker, region,
                            first_page(region, block_index))) {
        block->flags |= KSM_BLOCK_HUGE;
        return TRUE;
    }
    return FALSE;
}

/*
 * Whether it is huge, or was and will be again: it is written and parked soon.
 */
static gboolean stays_huge(KsmEngine *engine, KsmRegion *region,
                           guint32 block_index, guint keep)
{
    const KsmBlock *block = &region->blocks[block_index];

    if (block->flags & KSM_BLOCK_HUGE &&
        (block->parked_rounds || block->flags & KSM_BLOCK_SPLIT)) {
        return ksm_block_is_nearly_whole(block, keep);
    }
    return ksm_block_is_whole(block) && is_huge(engine, region, block_index);
}

/*
 * Fills the holes of a block that is nearly whole, and gives back its shared
 * pages.  FALSE: not whole yet; pages that are given back are tracked from the
 * next round on, and broken ones are given back without further action here.
 */
static gboolean make_whole(KsmEngine *engine, KsmRegion *region,
                           guint32 block_index)
{
    const KsmBlock *block = &region->blocks[block_index];
    guint32 first = first_page(region, block_index), page;

    for (page = first; block->away && page < first + KSM_BLOCK_PAGES; page++) {
        KsmPageState state = ksm_page_state(region->state[page]);

        if (!ksm_page_state_is_away(state) ||
            ksm_page_in_store(region->state[page])) {
            continue;
        }
        /*
         * Like a write by the guest: the page has zeros, whoever writes first.
         */
        if (ksm_sys->advise(ksm_ram_address(region, page), KSM_PAGE_BYTES,
                            MADV_POPULATE_WRITE)) {
            return FALSE;
        }
        ksm_ram_set_state(region, page, KSM_PAGE_PRIVATE);
        ksm_waits_anew(engine, region, page);
    }
    if (!block->away) {
        return TRUE;
    }
    ksm_giveback_range(engine, region, first, KSM_BLOCK_PAGES);
    return FALSE;
}

/* Disarms consecutive blocks and collapses them to huge pages. */
static void park_blocks(KsmEngine *engine, KsmRegion *region,
                        guint32 block_index, guint32 count)
{
    guint32 page = first_page(region, block_index), i;

    if (ksm_tracker_disarm(&engine->tracker, region, page,
                           count * KSM_BLOCK_PAGES)) {
        engine->stats.counters.refused_error++;
        return; /* still armed: judged again */
    }
    ksm_sys->advise(ksm_ram_address(region, page),
                    (gsize)count * KSM_BLOCK_PAGES * KSM_PAGE_BYTES,
                    MADV_COLLAPSE);
    for (i = block_index; i < block_index + count; i++) {
        ksm_block_park(&region->blocks[i]);
        region->parked++;
        /* One that failed (page in use, no memory) is retried next time. */
        engine->stats.counters.collapses += is_huge(engine, region, i);
    }
}

/* Whether a block's kept pages no longer have a huge page to be kept for. */
static gboolean keeps_in_vain(KsmEngine *engine, KsmRegion *region,
                              guint32 block_index, guint keep)
{
    const KsmBlock *block = &region->blocks[block_index];

    return block->kept && ((guint)block->kept + block->away > keep ||
                           !ksm_block_is_nearly_whole(block, keep) ||
                           (block_index % KSM_RECHECK_ROUNDS ==
                                engine->turn.round % KSM_RECHECK_ROUNDS &&
                            !stays_huge(engine, region, block_index, keep)));
}

void ksm_huge_judge(KsmEngine *engine, KsmRegion *region)
{
    guint keep = keep_of(engine);
    guint32 i, count = 0, parked = 0;

    for (i = 0; i < region->block_count; i++) {
        KsmBlock *block = &region->blocks[i];
        KsmBlockVerdict verdict = ksm_block_judge(block, keep);

        if (keeps_in_vain(engine, region, i, keep)) {
            keep_no_more(region, i);
        }
        if (keep && verdict == KSM_BLOCK_SHALL_REST &&
            parked < KSM_COLLAPSE_ROUND && !ksm_pace_interrupted(engine) &&
            make_whole(engine, region, i)) {
            count++;
            parked++;
            if (count < KSM_COLLAPSE_BLOCKS && i + 1 < region->block_count) {
                continue;
            }
            park_blocks(engine, region, i + 1 - count, count);
        } else if (count) {
            park_blocks(engine, region, i - count, count);
        } else {
            continue;
        }
        count = 0;
        ksm_pace_safe_point(engine);
    }
}

/* Elements of all three arrays begin with the page number. */
G_STATIC_ASSERT(G_STRUCT_OFFSET(KsmMatch, page) == 0);
G_STATIC_ASSERT(G_STRUCT_OFFSET(KsmFingerprinted, page) == 0);

static guint32 page_at(GArray *array, guint i)
{
    guint32 page;

    memcpy(&page, array->data + (gsize)i * g_array_get_element_size(array),
           sizeof(page));
    return page;
}

/* NULL: nothing to weigh (no block, or a misbehaving broker). */
static KsmBlock *weighed_block(KsmRegion *region, guint32 page)
{
    return ksm_page_state_is_away(ksm_page_state(region->state[page])) ?
               NULL :
               ksm_ram_block(region, page);
}

/* Counts the duplicates of each block; `blocks` gets each block's index. */
static void count_found(KsmRegion *region, GArray *array, GArray *blocks)
{
    guint i;

    for (i = 0; i < array->len; i++) {
        KsmBlock *block = weighed_block(region, page_at(array, i));

        if (block && block->found++ == 0) {
            guint32 block_index = (guint32)(block - region->blocks);

            g_array_append_val(blocks, block_index);
        }
    }
}

static void decide(KsmEngine *engine, KsmRegion *region, guint32 block_index,
                   guint keep)
{
    KsmBlock *block = &region->blocks[block_index];

    if ((guint)block->found + block->kept + block->away <= keep &&
        stays_huge(engine, region, block_index, keep)) {
        block->flags |= KSM_BLOCK_SPARED;
    }
    block->found = 0;
}

/* Removes spared pages; `tell`: how this is reported to the broker. */
static void take_spared(KsmEngine *engine, GArray *array,
                        void (*tell)(KsmEngine *, const KsmRegion *, guint32))
{
    gsize bytes = g_array_get_element_size(array);
    KsmRegion *region = engine->batch.region;
    guint i, left = 0;

    for (i = 0; i < array->len; i++) {
        guint32 page = page_at(array, i);
        KsmBlock *block = weighed_block(region, page);

        if (block && block->flags & KSM_BLOCK_SPARED) {
            ksm_ram_keep(region, page);
            if (tell) {
                tell(engine, region, page);
            }
        } else {
            memmove(array->data + left++ * bytes, array->data + i * bytes,
                    bytes);
        }
    }
    g_array_set_size(array, left);
}

void ksm_huge_weigh(KsmEngine *engine, GArray *zeros)
{
    KsmRegion *region = engine->batch.region;
    guint keep = keep_of(engine), i;
    g_autoptr(GArray) blocks = NULL;

    if (!keep) {
        return;
    }
    blocks = g_array_new(FALSE, FALSE, sizeof(guint32));
    count_found(region, engine->batch.matches, blocks);
    count_found(region, engine->batch.publishable, blocks);
    if (zeros) {
        count_found(region, zeros, blocks);
    }
    for (i = 0; i < blocks->len; i++) {
        decide(engine, region, g_array_index(blocks, guint32, i), keep);
    }
    take_spared(engine, engine->batch.matches, ksm_releases_add);
    take_spared(engine, engine->batch.publishable, ksm_releases_withdraw);
    if (zeros) {
        take_spared(engine, zeros, NULL);
    }
    for (i = 0; i < blocks->len; i++) {
        region->blocks[g_array_index(blocks, guint32, i)].flags &=
            (guint8)~KSM_BLOCK_SPARED;
    }
}
