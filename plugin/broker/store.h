/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h: the memory of a group's shared pages: a memfd cut into slots. */
#ifndef KSM_STORE_H
#define KSM_STORE_H

#include <glib.h>
#include <sys/uio.h>

#define KSM_STORE_PAGE_BYTES 4096u

typedef struct KsmStore KsmStore;

/** Slots that all stores of a broker may use together. */
typedef struct KsmStoreBudget {
    guint64 limit;
    guint64 used;               /* freed but not yet given back included */
} KsmStoreBudget;

/** What is known of the content whose first copy lies in a slot. */
typedef struct KsmSlot {
    guint64 key;                /* of the stable tree */
    guint32 refs;               /* of pages, to all copies together */
    guint16 owner;              /* member that published it */
    guint8 order;               /* of the tile; KSM_SLOT_FOLLOWER */
    guint8 owner_turn;          /* which holder of that member number */
} KsmSlot;

/* In any slot of a tile but the first: refs is the distance to the first. */
#define KSM_SLOT_FOLLOWER 0xff

G_STATIC_ASSERT(sizeof(KsmSlot) == 16);

/** Slots in a row that were taken for a PUBLISH and are not all used yet. */
typedef struct KsmStoreExtent {
    guint32 next;
    guint32 end;
} KsmStoreExtent;

/**
 * A store with @slots slots of address space (rounded up).  The memory is
 * only taken as slots are.  The budget must outlive the store.
 */
KsmStore *ksm_store_new(guint64 slots, KsmStoreBudget *budget, GError **errp);

/** Frees it; clients that have it mapped keep what they see. */
void ksm_store_free(KsmStore *store);

/** A new read-only descriptor for a client, or -1 with @errp set. */
int ksm_store_open(const KsmStore *store, GError **errp);

guint64 ksm_store_bytes(const KsmStore *store);

/** To be read only: it is mapped so. */
const guint8 *ksm_store_page(const KsmStore *store, guint32 slot);
KsmSlot *ksm_store_slot(const KsmStore *store, guint32 slot);

/** The slot that carries the reference count for @slot. */
guint32 ksm_store_head(const KsmStore *store, guint32 slot);

/**
 * Takes up to @want slots in a row, at least @need; FALSE when the budget or
 * the store cannot give them.
 */
gboolean ksm_store_reserve(KsmStore *store, guint32 need, guint32 want,
                           KsmStoreExtent *extent);

/** Gives back what is left of an extent. */
void ksm_store_unreserve(KsmStore *store, KsmStoreExtent *extent);

/**
 * Writes @count pages of private memory into the slots from @first on, which
 * must be taken and not referred to by any client.  Returns how many slots
 * have got theirs: fewer when the host has no memory.
 */
guint32 ksm_store_write(KsmStore *store, guint32 first,
                        const struct iovec *pages, guint32 count);

/** Notes that the slot holds content, with no reference yet. */
void ksm_store_fill(KsmStore *store, guint32 head, const KsmSlot *slot);

/** No page refers to the content at @head any more. */
void ksm_store_release(KsmStore *store, guint32 head);

/**
 * Gives freed slots back to the host, at most about @max of them; TRUE when
 * there are more.
 */
gboolean ksm_store_flush(KsmStore *store, guint max);

/** Slots that hold content. */
guint64 ksm_store_used(const KsmStore *store);

/** Memory beside the slots: the map and what is known of each slot. */
guint64 ksm_store_metadata_bytes(const KsmStore *store);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmStore, ksm_store_free)

#endif /* KSM_STORE_H */
