/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * huge.c: keeps huge pages whole where splitting them would gain little.
 *
 * Two things split a huge page: sharing one of its pages, and the first write
 * after it was armed (the kernel resolves that in the page table's entries).  A
 * guest bound by memory pays more for its small pages, with translations of its
 * own on top, than some of them are worth.  So with keep_huge = N
 *  - *few duplicates*: a block that is whole and huge is not touched while N of
 *    its pages at most are duplicates or zeros.  They are given back to the
 *    broker, marked KSM_PAGE_SPARED_HUGE, and not looked up again before something
 *    happens: they are written, or the block is found split: because more than
 *    N of its pages match, or by whatever else (swap, discarding);
 *  - *hot blocks*: a block that is written and has no more than N duplicates is
 *    left unarmed for some rounds (block.c) and made a huge page again by
 *    MADV_COLLAPSE, which khugepaged would never do: it leaves armed pages
 *    alone, and takes ten seconds for 16 MiB.  Up to N / 2 pages that are
 *    still shared or given back from earlier are taken back for it.
 *
 * A page that is not armed must never be taken for unwritten.  A parked block
 * is not swept, so none of its pages can become idle, and is not asked about
 * (ksm_ram_find_armed()).  When it is armed again, all of its pages are recorded
 * as written in that round, whatever the kernel says (it tells nothing of pages
 * that went to swap meanwhile): ksm_huge_wake().  What is listed when the rest
 * begins stays listed, so that guests whose blocks rest by turns find each
 * other; as between two rounds, a page may have been written when its result
 * comes, and it is the comparison in the window that decides.  So even without
 * all this no byte would be lost: only savings are.
 *
 * Collapsing moves pages.  The kernel does that as any migration, under its own
 * locks: it leaves a block alone of which a page has references that it cannot
 * account for (DMA, O_DIRECT), is armed, or missing.  It is done here outside
 * windows, never while the engine stands aside, by the scanner's time, and for
 * KSM_COLLAPSE_BLOCKS at a time, as the calls' own cost is large (it drains
 * per-CPU lists).  The guest's faults wait for one block's copy at most.
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
#include "pages/written.h"
#include "sys.h"

/* Blocks collapsed by one call, and in one round. */
#define KSM_COLLAPSE_BLOCKS 8u
#define KSM_COLLAPSE_ROUND  256u
/* Rounds between two looks at whether blocks with kept pages are still huge. */
#define KSM_RECHECK_ROUNDS     16u

static guint32 first_page(const KsmRegion *region, guint32 block_index)
{
    return region->block_first + block_index * KSM_BLOCK_PAGES;
}

/* The policy's figure; 0: it is off. */
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
                   ksm_page_state(region->state[page]) !=
                   KSM_PAGE_UNTOUCHED) {
            block->written++;
        }
    }
}

/*
 * All of its pages count as written, as nobody has looked while it was parked; but
 * what has failed is not well for that.
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

/* Pages kept for the block's sake are looked up with the next sweep. */
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

/* Whether it is huge, or was and will be, as it is written and rests soon. */
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
 * Fills what is missing of a block that is nearly whole, and takes back what
 * is shared.  FALSE: not yet; given back pages are tracked from the next round
 * on, broken ones come by themselves.
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
        /* As if the guest had written: zeros are there, whoever is first. */
        if (ksm_sys->advise(ksm_ram_address(region, page), KSM_PAGE_BYTES,
                            MADV_POPULATE_WRITE)) {
            return FALSE;
        }
        ksm_ram_set_state(region, page, KSM_PAGE_PRIVATE);
        region->wait[page] = 2;
    }
    if (!block->away) {
        return TRUE;
    }
    ksm_giveback_range(engine, region, first, KSM_BLOCK_PAGES);
    return FALSE;
}

/* Disarms blocks in a row, and makes them huge. */
static void park_blocks(KsmEngine *engine, KsmRegion *region, guint32 block_index,
                     guint32 count)
{
    guint32 page = first_page(region, block_index), i;

    if (ksm_tracker_disarm(&engine->tracker, region, page,
                           count * KSM_BLOCK_PAGES)) {
        engine->stats.counters.refused_error++;
        return;                 /* armed, as before: judged again */
    }
    ksm_sys->advise(ksm_ram_address(region, page),
                    (gsize)count * KSM_BLOCK_PAGES * KSM_PAGE_BYTES,
                    MADV_COLLAPSE);
    for (i = block_index; i < block_index + count; i++) {
        ksm_block_park(&region->blocks[i]);
        region->parked++;
        /* One that failed (a page in use, no memory) is tried next time. */
        engine->stats.counters.collapses += is_huge(engine, region, i);
    }
}

/* Whether a block's kept pages have lost what they were kept for. */
static gboolean keeps_in_vain(KsmEngine *engine, KsmRegion *region,
                              guint32 block_index, guint keep)
{
    const KsmBlock *block = &region->blocks[block_index];

    return block->kept &&
           ((guint)block->kept + block->away > keep ||
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

/* Elements of all three arrays begin with the page. */
G_STATIC_ASSERT(G_STRUCT_OFFSET(KsmMatch, page) == 0);
G_STATIC_ASSERT(G_STRUCT_OFFSET(KsmFingerprinted, page) == 0);

static guint32 page_at(GArray *array, guint i)
{
    guint32 page;

    memcpy(&page, array->data + (gsize)i * g_array_get_element_size(array),
           sizeof(page));
    return page;
}

/* NULL: nothing to weigh (no block, or a broker that is confused). */
static KsmBlock *weighed_block(KsmRegion *region, guint32 page)
{
    return ksm_page_state_is_away(ksm_page_state(region->state[page])) ?
               NULL :
               ksm_ram_block(region, page);
}

/* What is found in each block; `blocks` gets the index of each. */
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

/* Takes spared pages out; `tell`: how the broker comes to know of it. */
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
