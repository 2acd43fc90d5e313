/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slot-map.c: which slots of a store are taken; finds contiguous free ones.
 *
 * One bit per slot, and a count for each block of 4096 slots, so that full
 * blocks are skipped at once.  Next-fit: a search continues where the last one
 * ended, so that pages published one after the other are contiguous, and wraps
 * around once.  The partly free blocks bound its cost.
 */
#include "store/slot-map.h"

#include <string.h>
#include <sys/mman.h>

#define BLOCK_SLOTS 4096u
#define WORD_BITS 64u
#define BLOCK_WORDS (BLOCK_SLOTS / WORD_BITS)

struct KsmSlotMap {
    guint64 *words; /* 1: taken */
    guint16 *block_taken;
    guint32 slots;
    guint32 taken;
    guint32 next; /* where the next search starts */
    guint32 high; /* no slot from here on was ever taken */
    guint32 end;  /* slots from here on are only claimed */
};

KsmSlotMap *ksm_slot_map_new(guint32 slots)
{
    KsmSlotMap *map = g_new0(KsmSlotMap, 1);

    g_assert(slots > 0 && slots % BLOCK_SLOTS == 0);
    map->slots = slots;
    map->end = slots;
    map->words = mmap(NULL, slots / 8, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map->words == MAP_FAILED) {
        g_free(map);
        return NULL;
    }
    map->block_taken = g_new0(guint16, slots / BLOCK_SLOTS);
    return map;
}

void ksm_slot_map_free(KsmSlotMap *map)
{
    munmap(map->words, map->slots / 8);
    g_free(map->block_taken);
    g_free(map);
}

/* Sets or clears the bits of a range, a word at a time. */
static void map_mark(KsmSlotMap *map, guint32 first, guint32 count,
                     gboolean taken)
{
    while (count > 0) {
        guint32 bit = first % WORD_BITS;
        guint32 part = MIN(count, WORD_BITS - bit);
        guint64 mask = (part == WORD_BITS ? ~0ull : (1ull << part) - 1) << bit;
        guint64 *word = map->words + first / WORD_BITS;
        guint16 *block = map->block_taken + first / BLOCK_SLOTS;

        g_assert((*word & mask) == (taken ? 0 : mask));
        *word ^= mask;
        *block = (guint16)(taken ? *block + part : *block - part);
        first += part;
        count -= part;
    }
}

/* The first slot from @from on, below @end, that is free (or taken). */
static guint32 map_seek(const KsmSlotMap *map, guint32 from, guint32 end,
                        gboolean taken)
{
    while (from < end) {
        guint64 word = map->words[from / WORD_BITS];

        word = (taken ? word : ~word) >> from % WORD_BITS;
        if (word != 0) {
            return MIN(from + (guint32)__builtin_ctzll(word), end);
        }
        from += WORD_BITS - from % WORD_BITS;
        if (!taken && from % BLOCK_SLOTS == 0) {
            while (from < end &&
                   map->block_taken[from / BLOCK_SLOTS] == BLOCK_SLOTS) {
                from += BLOCK_SLOTS;
            }
        }
    }
    return end;
}

static guint32 map_find(const KsmSlotMap *map, guint32 from, guint32 end,
                        guint32 count)
{
    while (end - from >= count) {
        guint32 first = map_seek(map, from, end, FALSE);
        guint32 stop;

        if (end - first < count) {
            break;
        }
        stop = map_seek(map, first, first + count, TRUE);
        if (stop - first >= count) {
            return first;
        }
        from = stop;
    }
    return KSM_SLOT_MAP_NONE;
}

guint32 ksm_slot_map_take(KsmSlotMap *map, guint32 count)
{
    guint32 first;

    if (count == 0 || count > map->slots - map->taken) {
        return KSM_SLOT_MAP_NONE;
    }
    first = map_find(map, map->next, map->end, count);
    if (first == KSM_SLOT_MAP_NONE) {
        guint64 end = (guint64)map->next + count;

        first = map_find(map, 0, (guint32)MIN(end, map->end), count);
    }
    if (first == KSM_SLOT_MAP_NONE) {
        return first;
    }
    map_mark(map, first, count, TRUE);
    map->taken += count;
    map->next = first + count == map->slots ? 0 : first + count;
    map->high = MAX(map->high, first + count);
    return first;
}

void ksm_slot_map_set_end(KsmSlotMap *map, guint32 end)
{
    g_assert(end <= map->slots && map->next <= end);
    map->end = end;
}

void ksm_slot_map_claim(KsmSlotMap *map, guint32 first, guint32 count)
{
    g_assert((guint64)first + count <= map->slots);
    map_mark(map, first, count, TRUE);
    map->taken += count;
    map->high = MAX(map->high, first + count);
}

void ksm_slot_map_give(KsmSlotMap *map, guint32 first, guint32 count)
{
    g_assert(first + count <= map->slots);
    map_mark(map, first, count, FALSE);
    map->taken -= count;
    if (first + count == map->next) {
        map->next = first; /* the unused end of the last extent */
    }
}

gboolean ksm_slot_map_is_taken(const KsmSlotMap *map, guint32 slot)
{
    return slot < map->slots &&
           (map->words[slot / WORD_BITS] >> slot % WORD_BITS & 1);
}

gboolean ksm_slot_map_is_free(const KsmSlotMap *map, guint32 first,
                              guint32 count)
{
    g_assert(first % WORD_BITS == 0 && count % WORD_BITS == 0);
    return map_seek(map, first, first + count, TRUE) == first + count;
}

guint32 ksm_slot_map_taken(const KsmSlotMap *map)
{
    return map->taken;
}

guint64 ksm_slot_map_bytes(const KsmSlotMap *map)
{
    return sizeof(KsmSlotMap) + map->high / 8 +
           map->slots / BLOCK_SLOTS * sizeof(guint16);
}
