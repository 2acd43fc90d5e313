/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ram.c: regions of guest RAM: their bookkeeping, shadow and advice.
 *
 * The shadow is a second anonymous range of the same size.  The RAM mapping is
 * created by moving part of the shadow's mapping to the RAM's address, so that
 * both have the same page offsets and anon_vma: a page that is filled in the
 * shadow and moved to its place in the RAM merges with its anonymous
 * neighbours into one mapping again (giveback.c).  The shadow has one page
 * more than is moved, because moving a whole mapping unlinks its anon_vma.
 *
 * A page of the shadow is filled only to be moved away, so it must be a small
 * page whatever the RAM consists of: of a huge page, all but the moved part
 * would stay behind, forever and uncounted.  The shadow is MADV_NOHUGEPAGE,
 * and a piece gets the RAM's advice once it has been moved
 * (ksm_ram_advise_anonymous()).
 *
 * No mapping of guest memory or of the engine is ever mergeable by ksmd, which
 * knows no trust groups.  If the process makes all of its memory mergeable
 * (PR_SET_MEMORY_MERGE, possibly before an exec), each new mapping is made
 * unmergeable again (unmergeable.c).
 *
 * A NUMA policy (mbind) belongs to a mapping, and mappings with different
 * policies do not merge.  The program sets the policy only for the RAM, and
 * only after it was told that the RAM is ready.  So the policy is copied to
 * the shadow while all of the RAM is still the program's own memory.  Pages
 * that are given back are then placed by that policy.
 *
 * Memory: 6 bytes a page, mapped lazily, so that pages that were never
 * processed cost nothing; 14 bytes for each 2 MiB.
 */
#include "memory/ram.h"

#include <errno.h>
#include <string.h>

#include "memory/block.h"
#include "memory/page-state.h"
#include "memory/piece.h"
#include "error.h"
#include "ksm-protocol.h"
#include "sys.h"

#define KSM_HUGE_BYTES ((gsize)2 << 20)

/* Unmapped by one call: 0.1 us for each present page. */
#define KSM_UNMAP_BYTES ((gsize)16 << 20)

static void *map_table(gsize bytes)
{
    void *p = NULL;
    int ret = ksm_sys->map(NULL, MAX(bytes, 1), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
                           &p);

    if (!ret) {
        ksm_sys->advise(p, MAX(bytes, 1), MADV_UNMERGEABLE);
    }
    return ret ? NULL : p;
}

/* From the front, in pieces (piece.c), so that no mapping is divided. */
static void unmap_all(void *p, gsize bytes)
{
    guint8 *addr = p;

    while (bytes) {
        gsize piece = MIN(bytes, KSM_UNMAP_BYTES);

        ksm_sys->unmap(addr, piece);
        addr += piece;
        bytes -= piece;
    }
}

static void unmap_table(void *p, gsize bytes)
{
    if (p) {
        unmap_all(p, MAX(bytes, 1));
    }
}

int ksm_ram_advise(KsmRegion *region, guint32 first, guint32 end)
{
    guint8 *addr = ksm_ram_address(region, first);
    gsize bytes = (gsize)(end - first) * KSM_PAGE_BYTES;
    int ret = ksm_sys->advise(addr, bytes, MADV_DONTFORK);

    if (!ret && (region->flags & KSM_REGION_DONTDUMP)) {
        ret = ksm_sys->advise(addr, bytes, MADV_DONTDUMP);
    }
    if (!ret && ksm_sys_merges_any()) {
        ksm_sys->advise(addr, bytes, MADV_UNMERGEABLE);
    }
    return ret;
}

/* For anonymous memory of the RAM.  Only advice: it may fail. */
static void advise_huge(KsmRegion *region, guint8 *addr, gsize bytes)
{
    if (region->huge) {
        ksm_sys->advise(addr, bytes, MADV_HUGEPAGE);
    }
}

void ksm_ram_advise_anonymous(KsmRegion *region, guint32 first, guint32 count)
{
    advise_huge(region, ksm_ram_address(region, first),
                (gsize)count * KSM_PAGE_BYTES);
}

gboolean ksm_ram_is_mapped(guint8 *addr, gsize bytes)
{
    /* Advice without effect; fails with ENOMEM where nothing is mapped. */
    return !ksm_sys->advise(addr, bytes, MADV_NORMAL);
}

/* All advice for a range of memory except for huge pages. */
static int advise_range(KsmRegion *region, guint8 *addr, gsize bytes)
{
    int ret = ksm_sys->advise(addr, bytes, MADV_DONTFORK);

    if (ret) {
        return ret;
    }
    /* Fails with EINVAL on kernels built without KSM. */
    ksm_sys->advise(addr, bytes, MADV_UNMERGEABLE);
    if (region->flags & KSM_REGION_DONTDUMP) {
        ret = ksm_sys->advise(addr, bytes, MADV_DONTDUMP);
    }
    return ret;
}

/*
 * Maps the shadow at an address congruent to the RAM's (for huge pages), and
 * moves all of it except the last page to the RAM.
 */
static int make_shadow(KsmRegion *region)
{
    gsize bytes = (gsize)region->pages * KSM_PAGE_BYTES;
    gsize all = bytes + KSM_PAGE_BYTES;
    guint8 *area, *shadow;
    void *p;
    int ret;

    ret = ksm_sys->map(NULL, all + KSM_HUGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &p);
    if (ret) {
        return ret;
    }
    area = p;
    shadow = area +
             (((guintptr)region->addr - (guintptr)area) & (KSM_HUGE_BYTES - 1));
    if (shadow > area) {
        ksm_sys->unmap(area, (gsize)(shadow - area));
    }
    if (shadow + all < area + all + KSM_HUGE_BYTES) {
        ksm_sys->unmap(shadow + all, (gsize)(area + KSM_HUGE_BYTES - shadow));
    }
    ret = advise_range(region, shadow, all);
    /* Fails on kernels built without huge pages. */
    ksm_sys->advise(shadow, all, MADV_NOHUGEPAGE);
    if (!ret) {
        *(volatile guint8 *)(shadow + bytes) = 1; /* creates the anon_vma */
        ret = ksm_sys->remap_onto(shadow, bytes, region->addr);
    }
    if (ret) {
        ksm_sys->unmap(shadow, all);
        return ret;
    }
    region->shadow = shadow;
    advise_huge(region, region->addr, bytes);
    return 0;
}

static void free_tables(KsmRegion *region)
{
    unmap_table(region->state, region->pages);
    unmap_table(region->wait, region->pages);
    unmap_table(region->slot, (gsize)region->pages * sizeof(guint32));
    g_free(region->blocks);
    g_array_free(region->discarded, TRUE);
    g_free(region->name);
    g_free(region);
}

void ksm_ram_tables_unmergeable(KsmRegion *region)
{
    ksm_sys->advise(region->state, region->pages, MADV_UNMERGEABLE);
    ksm_sys->advise(region->wait, region->pages, MADV_UNMERGEABLE);
    ksm_sys->advise(region->slot, (gsize)region->pages * sizeof(guint32),
                    MADV_UNMERGEABLE);
}

/* The blocks that are fully inside the region; no page is present yet. */
static void make_blocks(KsmRegion *region)
{
    guintptr in_block = (guintptr)region->addr % KSM_HUGE_BYTES;
    guint32 i;

    G_STATIC_ASSERT(KSM_HUGE_BYTES == KSM_BLOCK_PAGES * KSM_PAGE_BYTES);
    region->block_first =
        in_block ? (guint32)((KSM_HUGE_BYTES - in_block) / KSM_PAGE_BYTES) : 0;
    region->block_count = region->pages < region->block_first ?
                              0 :
                              (region->pages - region->block_first) /
                                  KSM_BLOCK_PAGES;
    region->blocks = g_new0(KsmBlock, region->block_count);
    for (i = 0; i < region->block_count; i++) {
        region->blocks[i].away = KSM_BLOCK_PAGES;
    }
}

KsmRegion *ksm_ram_new(KsmEngine *engine, const char *name, void *addr,
                       guint64 bytes, KsmRegionFlags flags, GError **errp)
{
    KsmRegion *region = g_new0(KsmRegion, 1);
    int ret;

    region->engine = engine;
    region->name = g_strdup(name);
    region->addr = addr;
    region->pages = (guint32)(bytes / KSM_PAGE_BYTES);
    region->flags = flags;
    region->huge = (flags & KSM_REGION_HUGEPAGE) != 0;
    region->mappings = 1;
    region->counts[KSM_PAGE_UNTOUCHED] = region->pages;
    region->discarded = g_array_new(FALSE, FALSE, sizeof(KsmRange));
    make_blocks(region);
    region->state = map_table(region->pages);
    region->wait = map_table(region->pages);
    region->slot = map_table((gsize)region->pages * sizeof(guint32));
    if (!region->state || !region->wait || !region->slot) {
        ret = -ENOMEM;
    } else if (flags & KSM_REGION_FRESH) {
        /*
         * The shadow it is made of has no huge pages, so restore the default.
         */
        region->huge = region->huge || ksm_sys_huge_always();
        ret = make_shadow(region);
    } else {
        ret = advise_range(region, addr, bytes);
        advise_huge(region, addr, bytes);
    }
    if (ret) {
        ksm_error_set_errno(errp, KSM_ERROR_FAILED, ret,
                            "Could not prepare memory '%s' (%" G_GUINT64_FORMAT
                            " MiB) for sharing",
                            name, bytes >> 20);
        free_tables(region);
        return NULL;
    }
    region->metadata_bytes = ksm_ram_fixed_bytes(region);
    ksm_ram_needs_register(region, 0, region->pages);
    return region;
}

void ksm_ram_abandon(KsmRegion *region)
{
    gsize bytes = (gsize)region->pages * KSM_PAGE_BYTES;

    ksm_sys->advise(region->addr, bytes, MADV_DOFORK);
    if (region->flags & KSM_REGION_DONTDUMP) {
        ksm_sys->advise(region->addr, bytes, MADV_DODUMP);
    }
    if (region->shadow) {
        unmap_all(region->shadow, bytes + KSM_PAGE_BYTES);
    }
    free_tables(region);
}

static int map_empty(KsmRegion *region, guint32 first, guint32 end)
{
    return ksm_sys->map(ksm_ram_address(region, first),
                        (gsize)(end - first) * KSM_PAGE_BYTES,
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                        -1, 0, NULL);
}

/*
 * Makes the whole region empty, piece by piece (piece.c).  A piece may divide
 * a mapping; if no more mappings are available, replaces all at once.
 */
static int replace_all(KsmRegion *region)
{
    KsmPieces pieces = ksm_pieces_replace;
    guint32 page, next;

    for (page = 0; page < region->pages; page = next) {
        guint64 start_ns = ksm_sys_now_ns();

        next = ksm_pieces_next(&pieces, region, page, region->pages);
        if (map_empty(region, page, next)) {
            return map_empty(region, 0, region->pages);
        }
        ksm_pieces_took(&pieces, ksm_sys_now_ns() - start_ns, TRUE);
    }
    return 0;
}

gboolean ksm_ram_free(KsmRegion *region)
{
    gsize bytes = (gsize)region->pages * KSM_PAGE_BYTES;
    int ret = replace_all(region);

    if (region->shadow) {
        unmap_all(region->shadow, bytes + KSM_PAGE_BYTES);
    }
    free_tables(region);
    return ret == 0;
}

void ksm_ram_set_state(KsmRegion *region, guint32 page, KsmPageState state)
{
    guint8 word = region->state[page];
    KsmBlock *block = ksm_ram_block(region, page);

    if (block) {
        ksm_block_note_state(block, word, state);
        region->kept -= ksm_page_is_spared(word);
    }
    region->counts[ksm_page_state(word)]--;
    region->counts[state]++;
    region->hwpoison -= (word & KSM_PAGE_HWPOISON) != 0;
    region->state[page] = (guint8)((word & KSM_PAGE_LEVEL_MASK) | state);
}

void ksm_ram_set_hwpoison(KsmRegion *region, guint32 page)
{
    region->hwpoison += !(region->state[page] & KSM_PAGE_HWPOISON);
    region->state[page] |= KSM_PAGE_HWPOISON;
}

void ksm_ram_keep(KsmRegion *region, guint32 page)
{
    KsmBlock *block = ksm_ram_block(region, page);

    if (block) {
        ksm_ram_set_state(region, page, KSM_PAGE_EXCLUDED);
        region->state[page] |= KSM_PAGE_SPARED_HUGE;
        block->kept++;
        region->kept++;
    }
}

static gboolean is_parked(KsmRegion *region, guint32 page)
{
    const KsmBlock *block = ksm_ram_block(region, page);

    return block && block->parked_rounds;
}

guint32 ksm_ram_find_armed(KsmRegion *region, guint32 page, guint32 *end)
{
    *end = region->pages;
    if (!region->parked) {
        return page;
    }
    while (page < region->pages && is_parked(region, page)) {
        page = ksm_ram_next_block(region, page);
    }
    *end = page;
    while (*end < region->pages && !is_parked(region, *end)) {
        *end = ksm_ram_next_block(region, *end);
    }
    *end = MIN(*end, region->pages);
    return MIN(page, region->pages);
}

void ksm_ram_disarmed(KsmRegion *region)
{
    guint32 i;

    for (i = 0; i < region->block_count; i++) {
        region->blocks[i].flags |= KSM_BLOCK_FRESH;
    }
}

static void set_level(KsmRegion *region, guint32 page, guint level)
{
    region->state[page] =
        (guint8)((region->state[page] & ~KSM_PAGE_LEVEL_MASK) |
                 level << KSM_PAGE_LEVEL_SHIFT);
}

static guint level_up(KsmRegion *region, guint32 page)
{
    guint level = MIN(ksm_page_level(region->state[page]) + 1,
                      KSM_PAGE_MAX_LEVEL);

    set_level(region, page, level);
    return level;
}

/*
 * Rounds without a write that count as short.  The stamp wraps at 256, so a
 * page written after 256 quiet rounds may once be mistaken for a hot one: it
 * then waits a few rounds longer.
 */
#define KSM_SOON_ROUNDS 8u

void ksm_ram_note_written(KsmRegion *region, guint32 page, guint8 round,
                          guint8 rounds)
{
    guint8 unwritten = (guint8)(round - region->wait[page]);
    guint level = ksm_page_level(region->state[page]);

    if (ksm_page_state(region->state[page]) == KSM_PAGE_PRIVATE ||
        ksm_page_state(region->state[page]) == KSM_PAGE_EXCLUDED) {
        /* Not processed yet: keep the level. */
    } else if (unwritten < KSM_SOON_ROUNDS) {
        level = level_up(region, page);
    } else if (level > 0) {
        set_level(region, page, level - 1);
        level--;
    }
    /* This round's sweep subtracts `rounds`; a later one may find it idle. */
    region->wait[page] = (guint8)MIN(rounds + (1u << level), G_MAXUINT8);
}

void ksm_ram_back_off(KsmRegion *region, guint32 page, KsmPageState state)
{
    guint level = level_up(region, page);

    ksm_ram_set_state(region, page, state);
    region->wait[page] = (guint8)(1 + (1u << level));
}

void ksm_ram_retry(KsmRegion *region, guint32 page)
{
    ksm_ram_set_state(region, page, KSM_PAGE_PRIVATE);
    region->wait[page] = 1;
}

void ksm_ram_follow_policy(KsmRegion *region)
{
    if (!region->policy_followed && region->shadow) {
        /* On kernels that lack or forbid policies there is none to copy. */
        ksm_sys->copy_policy(region->shadow,
                             ((gsize)region->pages + 1) * KSM_PAGE_BYTES,
                             region->addr);
    }
    region->policy_followed = TRUE;
}

/* Parts this close together are registered by one call, at no extra cost. */
#define KSM_UNSETTLED_NEAR 16u

/* Joins parts number i to j, and closes the gap in the array. */
static void join_unregistered(KsmRegion *region, guint i, guint j)
{
    KsmUnregistered *parts = region->unregistered;

    parts[i].end = MAX(parts[i].end, parts[j].end);
    memmove(&parts[i + 1], &parts[j + 1],
            (region->unregistered_count - j - 1) * sizeof(*parts));
    region->unregistered_count -= j - i;
}

/* There is one part too many: joins the two closest ones. */
static void join_closest(KsmRegion *region)
{
    const KsmUnregistered *parts = region->unregistered;
    guint i, best = 1;

    for (i = 2; i < region->unregistered_count; i++) {
        if (parts[i].first - parts[i - 1].end <
            parts[best].first - parts[best - 1].end) {
            best = i;
        }
    }
    join_unregistered(region, best - 1, best);
}

void ksm_ram_needs_register(KsmRegion *region, guint32 first, guint32 end)
{
    KsmUnregistered *parts = region->unregistered;
    guint i = region->unregistered_count, j;

    /* All parts from number i on begin behind it or are close to it. */
    while (i > 0 && (guint64)parts[i - 1].end + KSM_UNSETTLED_NEAR >= first) {
        i--;
    }
    for (j = i; j < region->unregistered_count &&
                parts[j].first <= (guint64)end + KSM_UNSETTLED_NEAR;
         j++) {
        continue;
    }
    if (i < j) {
        parts[i].first = MIN(parts[i].first, first);
        join_unregistered(region, i, j - 1);
        parts[i].end = MAX(parts[i].end, end);
        return;
    }
    memmove(&parts[i + 1], &parts[i],
            (region->unregistered_count - i) * sizeof(*parts));
    parts[i] = (KsmUnregistered) { first, end };
    if (++region->unregistered_count > KSM_UNREGISTERED_MAX) {
        join_closest(region);
    }
}

guint64 ksm_ram_fixed_bytes(const KsmRegion *region)
{
    return sizeof(*region) + (guint64)region->block_count * sizeof(KsmBlock);
}
