/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h: the memory of a group's shared pages: a memfd divided into slots. */
#ifndef KSM_STORE_H
#define KSM_STORE_H

#include <glib.h>
#include <sys/uio.h>

#include "host/share.h"
#include "store/roster.h"
#include "store/store-file.h"

typedef struct KsmStore KsmStore;

/**
 * Slots that the stores of one user may use together, within the limit of all
 * stores.  Freed slots that are not yet released to the host count as used.
 */
typedef KsmShare KsmStoreBudget;

/** Metadata of the content whose first copy lies in a slot. */
typedef struct KsmSlot {
    guint64 key;             /* of the stable tree */
    guint32 refs;            /* references from pages, to all copies */
    guint16 owner;           /* member that published it, or NOBODY */
    guint8 order;            /* of the tile, or KSM_SLOT_FOLLOWER */
    guint8 owner_generation; /* generation of that member id */
} KsmSlot;

/* For every slot of a tile but the first: refs is the distance to the first. */
#define KSM_SLOT_FOLLOWER 0xff
#define KSM_SLOT_OWNER_NOBODY 0xffff

G_STATIC_ASSERT(sizeof(KsmSlot) == 16);

/** Contiguous slots that were taken for a PUBLISH and are not all used yet. */
typedef struct KsmStoreExtent {
    guint32 next;
    guint32 end;
} KsmStoreExtent;

/**
 * Creates a store with @slots slots of address space (rounded up) for the group
 * @label.  Memory is only allocated when slots are written.  @budget must
 * outlive the store.
 */
KsmStore *ksm_store_new(const char *label, guint64 slots,
                        KsmStoreBudget *budget, GError **errp);

/**
 * Takes over the store of that group from a broker that has exited.  @fd is the
 * descriptor that a client sent; it stays the caller's.  No slot counts as
 * taken before ksm_store_inherit().  No slot is allocated before
 * ksm_store_open_to(), which says up to where all slots in use were inherited.
 */
KsmStore *ksm_store_take_up(int fd, const char *label, KsmStoreBudget *budget,
                            GError **errp);

/**
 * Binds all slots that are written from now on to a NUMA node; KSM_NODE_ANY:
 * the kernel chooses.  KSM_ERROR_GROUP if that is not possible.
 */
gboolean ksm_store_bind(KsmStore *store, int node, GError **errp);
int ksm_store_node(const KsmStore *store);

/** Whether @fd is a descriptor of the store's file. */
gboolean ksm_store_is_file(const KsmStore *store, int fd);

/** Whether no slot is in use. */
gboolean ksm_store_is_unused(const KsmStore *store);

/** The engines that may map the store. */
KsmRoster *ksm_store_roster(const KsmStore *store);

/**
 * The next slot from @from on that has memory in the file, or ksm_store_slots()
 * if there is none.  Takes 230 ns.
 */
guint32 ksm_store_next_data(const KsmStore *store, guint32 from);

/** Takes a slot found by it, with one reference and unknown content. */
void ksm_store_inherit(KsmStore *store, guint32 slot);

/** Allows the allocation of free slots below @end. */
void ksm_store_open_to(KsmStore *store, guint32 end);

/** Describes inherited slots at @head that hold one content (a tile). */
void ksm_store_describe(KsmStore *store, guint32 head, const KsmSlot *slot);

/** Frees the store; clients that map it keep their pages. */
void ksm_store_free(KsmStore *store);

/** A new read-only descriptor for a client, or -1 with @errp set. */
int ksm_store_open(const KsmStore *store, GError **errp);

/** Size of all slots together. */
guint64 ksm_store_bytes(const KsmStore *store);
guint32 ksm_store_slots(const KsmStore *store);

/** The content of a slot; mapped read-only. */
const guint8 *ksm_store_page(const KsmStore *store, guint32 slot);
KsmSlot *ksm_store_slot(const KsmStore *store, guint32 slot);

/** The slot that has the reference count of @slot: the first of its tile. */
guint32 ksm_store_head(const KsmStore *store, guint32 slot);

/**
 * Takes up to @want contiguous slots, at least @need.  FALSE if the budget or
 * the store has not enough.
 */
gboolean ksm_store_reserve(KsmStore *store, guint32 need, guint32 want,
                           KsmStoreExtent *extent);

/** Returns the unused rest of an extent. */
void ksm_store_unreserve(KsmStore *store, KsmStoreExtent *extent);

/**
 * Writes @count pages of private memory into the slots from @first on, which
 * must be taken and not referred to by any client.  Returns the number of slots
 * written, which is less than @count if the host is out of memory.
 */
guint32 ksm_store_write(KsmStore *store, guint32 first,
                        const struct iovec *pages, guint32 count);

/** Records that the slot holds content, with no reference yet. */
void ksm_store_fill(KsmStore *store, guint32 head, const KsmSlot *slot);

/** Frees the content at @head, which no page refers to any more. */
void ksm_store_release(KsmStore *store, guint32 head);

/**
 * Releases freed slots to the host: about @max of them at most, and at most
 * 8 MiB.  TRUE if there are more.
 */
gboolean ksm_store_flush(KsmStore *store, guint max);

/** Whether @addr is in the broker's mapping of the slots; stores which slot. */
gboolean ksm_store_find_slot(const KsmStore *store, const guint8 *addr,
                             guint32 *slot);

/** Number of slots that hold content. */
guint64 ksm_store_used(const KsmStore *store);

/** Memory of the slot map and of the slots' metadata, in bytes. */
guint64 ksm_store_metadata_bytes(const KsmStore *store);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmStore, ksm_store_free)

#endif /* KSM_STORE_H */
