/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store.c: the memory of a group's shared pages: a memfd divided into slots.
 *
 * Invariants
 *  - A slot that a page refers to is neither written nor reused: it is only
 *    freed by ksm_store_release() of the whole content, with no reference left.
 *    Only ksm_store_write() writes slots; the broker's own mapping is
 *    read-only.
 *  - No client can change a slot: the file is 0400, the clients' descriptors
 *    are read-only (of a reopened file, not the broker's), and its size is
 *    sealed.  Clients with the broker's own user id could change the mode; they
 *    are trusted.  Behind the slots the file has the list of the engines that
 *    may map it (roster.c), so that it can outlive a broker (reclaim.c).
 *  - Freed slots stay "taken" until their memory was released to the host, so a
 *    slot is never reused with old content.
 *
 * The file is sparse and several times larger than the budget, so that
 * contiguous slots are found even in a fragmented store; only slots that hold
 * content have memory.  An unpleasant corner case: if a client *reads* a hole
 * through its mapping, the kernel allocates a zero page there.  It is charged
 * to that client's control group, and freed when the slot was used and freed.
 *
 * Freeing is delayed to the next step of the broker's background work, so that
 * slots freed one after the other, which are mostly neighbours, are released in
 * one call: a PUNCH_HOLE takes some 3 us however short it is.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "host/headroom.h"
#include "ksm-protocol.h"
#include "store/numa.h"
#include "store/slot-map.h"

#define LEAF_SLOTS (4096u / sizeof(KsmSlot))
/* Of the slots' table: it takes huge pages only beyond 2 GiB of content. */
#define SMALL_BYTES ((gsize)8 << 20)
#define FLUSH_SORT 8192u  /* maximum of extents sorted by one flush */
#define FLUSH_SLOTS 2048u /* about the maximum of slots released: 1 ms */

typedef struct Freed {
    guint32 first;
    guint32 count;
} Freed;

struct KsmStore {
    KsmStoreBudget *budget;
    KsmSlotMap *map;
    KsmSlot *slots;     /* one for each slot, allocated on use */
    guint8 *leaves;     /* bitmap of the pages of slots with memory */
    guint32 leaf_count; /* bits set */
    const guint8 *pages;
    KsmRoster *roster;
    GArray *freed; /* Freed, waiting to be released */
    guint64 used;
    guint32 count;
    int fd;
    int node;    /* NUMA node of the slots, or KSM_NODE_ANY */
    guint binds; /* number of calls to bind the file */
};

G_STATIC_ASSERT(KSM_STORE_ROUND_SLOTS % (8 * LEAF_SLOTS) == 0);

static gboolean store_map(KsmStore *store, GError **errp)
{
    gsize bytes = (gsize)store->count * KSM_STORE_PAGE_BYTES;
    gsize small = MIN(store->count * sizeof(KsmSlot), SMALL_BYTES);

    store->pages = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE,
                        store->fd, 0);
    store->slots = mmap(NULL, store->count * sizeof(KsmSlot),
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    store->leaves = g_new0(guint8, store->count / LEAF_SLOTS / 8);
    store->map = ksm_slot_map_new(store->count);
    if (store->pages == MAP_FAILED || store->slots == MAP_FAILED ||
        store->map == NULL || !ksm_headroom_left()) {
        g_set_error(errp, KSM_ERROR, KSM_ERROR_LIMIT,
                    "no address space for another store of %zu MiB",
                    bytes >> 20);
        return FALSE;
    }
    /* Slots are taken from the first on.  A kernel without huge pages refuses
     * that; that is fine. */
    madvise(store->slots, small, MADV_NOHUGEPAGE);
    return TRUE;
}

/* Creates a store around @fd, which it takes over; -1: @errp is set already. */
static KsmStore *store_around(int fd, guint64 slots, KsmStoreBudget *budget,
                              GError **errp)
{
    g_autoptr(KsmStore) store = g_new0(KsmStore, 1);

    store->count = (guint32)slots;
    store->budget = budget;
    store->pages = MAP_FAILED;
    store->slots = MAP_FAILED;
    store->freed = g_array_new(FALSE, FALSE, sizeof(Freed));
    store->fd = fd;
    store->node = KSM_NODE_ANY;
    if (store->fd < 0 || !store_map(store, errp)) {
        return NULL;
    }
    return g_steal_pointer(&store);
}

KsmStore *ksm_store_new(const char *label, guint64 slots,
                        KsmStoreBudget *budget, GError **errp)
{
    g_autoptr(KsmStore) store = NULL;
    const guint64 round = KSM_STORE_ROUND_SLOTS;

    slots = (slots + round - 1) / round * round;
    slots = CLAMP(slots, round, (guint64)KSM_MAX_SLOT + 1);
    store = store_around(ksm_store_file_new(label, slots, errp), slots, budget,
                         errp);
    if (store == NULL) {
        return NULL;
    }
    store->roster = ksm_roster_new(store->fd, slots, errp);
    return store->roster != NULL ? g_steal_pointer(&store) : NULL;
}

KsmStore *ksm_store_take_up(int fd, const char *label, KsmStoreBudget *budget,
                            GError **errp)
{
    g_autoptr(KsmStore) store = NULL;
    guint64 slots;

    if (!ksm_store_file_check(fd, label, &slots, errp)) {
        return NULL;
    }
    store = store_around(ksm_store_file_take(fd, errp), slots, budget, errp);
    if (store == NULL) {
        return NULL;
    }
    ksm_slot_map_set_end(store->map, 0);
    store->roster = ksm_roster_take(store->fd, slots, errp);
    return store->roster != NULL ? g_steal_pointer(&store) : NULL;
}

void ksm_store_free(KsmStore *store)
{
    if (store->map != NULL) {
        ksm_share_give(store->budget, ksm_slot_map_taken(store->map));
        ksm_slot_map_free(store->map);
    }
    g_clear_pointer(&store->roster, ksm_roster_free);
    if (store->pages != MAP_FAILED) {
        munmap((gpointer)store->pages, ksm_store_bytes(store));
    }
    if (store->slots != MAP_FAILED) {
        munmap(store->slots, store->count * sizeof(KsmSlot));
    }
    if (store->fd >= 0) {
        close(store->fd);
    }
    g_array_unref(store->freed);
    g_free(store->leaves);
    g_free(store);
}

int ksm_store_open(const KsmStore *store, GError **errp)
{
    return ksm_store_file_open(store->fd, errp);
}

gboolean ksm_store_bind(KsmStore *store, int node, GError **errp)
{
    int ret = node == KSM_NODE_ANY ? 0 :
              node > KSM_MAX_NODE  ? -EINVAL :
                                     ksm_numa_bind(store->pages,
                                                   ksm_store_bytes(store), node,
                                                   store->binds++);

    if (ret != 0) {
        g_set_error(
            errp, KSM_ERROR, KSM_ERROR_GROUP, "NUMA node %d: %s", node,
            ret == -EINVAL ?
                "it does not exist, has no memory, or is excluded by the "
                "broker's control group (cpuset.mems)" :
                g_strerror(-ret));
        return FALSE;
    }
    store->node = node;
    return TRUE;
}

int ksm_store_node(const KsmStore *store)
{
    return store->node;
}

gboolean ksm_store_is_file(const KsmStore *store, int fd)
{
    return ksm_store_file_same(store->fd, fd);
}

gboolean ksm_store_is_unused(const KsmStore *store)
{
    return ksm_slot_map_taken(store->map) == 0;
}

KsmRoster *ksm_store_roster(const KsmStore *store)
{
    return store->roster;
}

guint64 ksm_store_bytes(const KsmStore *store)
{
    return (guint64)store->count * KSM_STORE_PAGE_BYTES;
}

guint32 ksm_store_slots(const KsmStore *store)
{
    return store->count;
}

const guint8 *ksm_store_page(const KsmStore *store, guint32 slot)
{
    return store->pages + (gsize)slot * KSM_STORE_PAGE_BYTES;
}

gboolean ksm_store_find_slot(const KsmStore *store, const guint8 *addr,
                             guint32 *slot)
{
    guint64 offset = (guint64)(addr - store->pages);

    *slot = (guint32)(offset / KSM_STORE_PAGE_BYTES);
    return addr >= store->pages && offset < ksm_store_bytes(store);
}

KsmSlot *ksm_store_slot(const KsmStore *store, guint32 slot)
{
    return store->slots + slot;
}

guint32 ksm_store_head(const KsmStore *store, guint32 slot)
{
    const KsmSlot *info = store->slots + slot;

    return info->order == KSM_SLOT_FOLLOWER ? slot - info->refs : slot;
}

static guint64 slots_left(const KsmStoreBudget *budget)
{
    return MIN(ksm_share_left(budget),
               ksm_headroom_file_bytes() / KSM_STORE_PAGE_BYTES);
}

gboolean ksm_store_reserve(KsmStore *store, guint32 need, guint32 want,
                           KsmStoreExtent *extent)
{
    KsmStoreBudget *budget = store->budget;
    guint64 left = slots_left(budget);

    if (want > left) {
        ksm_store_flush(store, FLUSH_SORT);
        left = slots_left(budget);
    }
    for (; want >= need; want = want == need ? 0 : MAX(want / 2, need)) {
        guint32 first = KSM_SLOT_MAP_NONE;

        if (want <= left) {
            first = ksm_slot_map_take(store->map, want);
        }
        if (first != KSM_SLOT_MAP_NONE) {
            ksm_share_take(budget, want);
            *extent = (KsmStoreExtent) { first, first + want };
            return TRUE;
        }
    }
    *extent = (KsmStoreExtent) { 0, 0 };
    return FALSE;
}

void ksm_store_unreserve(KsmStore *store, KsmStoreExtent *extent)
{
    guint32 count = extent->end - extent->next;

    if (count > 0) {
        ksm_slot_map_give(store->map, extent->next, count);
        ksm_share_give(store->budget, count);
    }
    *extent = (KsmStoreExtent) { 0, 0 };
}

guint32 ksm_store_write(KsmStore *store, guint32 first,
                        const struct iovec *pages, guint32 count)
{
    guint32 done = 0;

    /* Any client that maps the store can change its policy with mbind(2). */
    if (!ksm_store_bind(store, store->node, NULL)) {
        return 0;
    }
    while (done < count) {
        off_t offset = (off_t)(first + done) * KSM_STORE_PAGE_BYTES;
        ssize_t bytes = pwritev(store->fd, pages + done, (int)(count - done),
                                offset);

        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < (ssize_t)KSM_STORE_PAGE_BYTES) {
            break;
        }
        done += (guint32)(bytes / KSM_STORE_PAGE_BYTES);
    }
    return done;
}

static gboolean leaf_is_touched(const KsmStore *store, guint32 leaf)
{
    return store->leaves[leaf / 8] >> leaf % 8 & 1;
}

static void flip_leaf(KsmStore *store, guint32 leaf)
{
    store->leaves[leaf / 8] ^= (guint8)(1u << leaf % 8);
    store->leaf_count += leaf_is_touched(store, leaf) ? 1 : -1;
}

static void touch_leaves(KsmStore *store, guint32 first, guint32 count)
{
    guint32 leaf;

    for (leaf = first / LEAF_SLOTS; leaf <= (first + count - 1) / LEAF_SLOTS;
         leaf++) {
        if (!leaf_is_touched(store, leaf)) {
            flip_leaf(store, leaf);
        }
    }
}

/*
 * Over weeks the slots in use, and their metadata, move through all of the
 * address space.  Metadata pages without slots in use are freed.
 */
static void drop_leaves(KsmStore *store, guint32 first, guint32 count)
{
    guint32 leaf;

    for (leaf = first / LEAF_SLOTS; leaf <= (first + count - 1) / LEAF_SLOTS;
         leaf++) {
        guint32 slot = leaf * (guint32)LEAF_SLOTS;

        if (leaf_is_touched(store, leaf) &&
            ksm_slot_map_is_free(store->map, slot, LEAF_SLOTS) &&
            madvise(store->slots + slot, LEAF_SLOTS * sizeof(KsmSlot),
                    MADV_DONTNEED) == 0) {
            flip_leaf(store, leaf);
        }
    }
}

void ksm_store_describe(KsmStore *store, guint32 head, const KsmSlot *slot)
{
    guint32 copies = 1u << slot->order;
    guint32 i;

    store->slots[head] = *slot;
    for (i = 1; i < copies; i++) {
        store->slots[head + i] = (KsmSlot) {
            .refs = i,
            .order = KSM_SLOT_FOLLOWER,
        };
    }
}

void ksm_store_fill(KsmStore *store, guint32 head, const KsmSlot *slot)
{
    ksm_store_describe(store, head, slot);
    store->used += 1u << slot->order;
    touch_leaves(store, head, 1u << slot->order);
}

/* One slot at a time: SEEK_HOLE would walk the whole extent, 8 ms for a GiB. */
guint32 ksm_store_next_data(const KsmStore *store, guint32 from)
{
    off_t data = lseek(store->fd, (off_t)from * KSM_STORE_PAGE_BYTES,
                       SEEK_DATA);

    return data < 0 ?
               store->count :
               (guint32)MIN(data / KSM_STORE_PAGE_BYTES, (off_t)store->count);
}

void ksm_store_inherit(KsmStore *store, guint32 slot)
{
    const KsmSlot unknown = { .refs = 1, .owner = KSM_SLOT_OWNER_NOBODY };

    ksm_slot_map_claim(store->map, slot, 1);
    ksm_share_take(store->budget, 1);
    ksm_store_fill(store, slot, &unknown);
}

void ksm_store_open_to(KsmStore *store, guint32 end)
{
    ksm_slot_map_set_end(store->map, end);
}

void ksm_store_release(KsmStore *store, guint32 head)
{
    const KsmSlot *slot = store->slots + head;
    Freed freed = { head, 1u << slot->order };

    g_assert(slot->order <= KSM_MAX_TILE_ORDER && slot->refs == 0);
    g_array_append_val(store->freed, freed);
    store->used -= freed.count;
}

static gint compare_freed(gconstpointer a, gconstpointer b)
{
    guint32 x = ((const Freed *)a)->first, y = ((const Freed *)b)->first;

    return x < y ? -1 : x > y;
}

/* If the kernel ever refuses, the memory stays until the slots are reused and
 * overwritten. */
static void discard(KsmStore *store, guint32 first, guint32 count)
{
    while (fallocate(store->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)first * KSM_STORE_PAGE_BYTES,
                     (off_t)count * KSM_STORE_PAGE_BYTES) != 0 &&
           errno == EINTR) {
    }
}

/* Releases the memory of a range, and frees its slots. */
static void punch(KsmStore *store, guint32 first, guint32 count)
{
    discard(store, first, count);
    memset(store->slots + first, 0, count * sizeof(KsmSlot));
    ksm_slot_map_give(store->map, first, count);
    ksm_share_give(store->budget, count);
    drop_leaves(store, first, count);
}

/* Number of the last freed extents to release in one flush: tiles are large. */
static guint flush_extents(const KsmStore *store, guint max)
{
    guint most = MIN(store->freed->len, MIN(max, FLUSH_SORT)), count = 0;
    guint32 slots = 0;

    while (count < most && slots < FLUSH_SLOTS) {
        count++;
        slots +=
            g_array_index(store->freed, Freed, store->freed->len - count).count;
    }
    return count;
}

gboolean ksm_store_flush(KsmStore *store, guint max)
{
    guint count = flush_extents(store, max);
    guint start = store->freed->len - count;
    guint i = 0;
    Freed *freed;

    if (count == 0) {
        return FALSE;
    }
    freed = &g_array_index(store->freed, Freed, start);
    qsort(freed, count, sizeof(Freed), compare_freed);
    while (i < count) {
        guint32 first = freed[i].first, length = 0;

        for (; i < count && freed[i].first == first + length; i++) {
            length += freed[i].count;
        }
        punch(store, first, length);
    }
    g_array_set_size(store->freed, start);
    return start > 0;
}

guint64 ksm_store_used(const KsmStore *store)
{
    return store->used;
}

guint64 ksm_store_metadata_bytes(const KsmStore *store)
{
    return sizeof(KsmStore) + ksm_slot_map_bytes(store->map) +
           store->leaf_count * LEAF_SLOTS * sizeof(KsmSlot) +
           store->count / LEAF_SLOTS / 8 + store->freed->len * sizeof(Freed);
}
