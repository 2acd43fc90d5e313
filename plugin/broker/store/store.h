/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store.h: the memory of a group's shared pages: a memfd cut into slots. */
#ifndef KSM_STORE_H
#define KSM_STORE_H

#include <glib.h>
#include <sys/uio.h>

#include "host/share.h"
#include "store/roster.h"
#include "store/store-file.h"

typedef struct KsmStore KsmStore;

/** Slots that the stores of a user may use together, and all stores. */
typedef KsmShare KsmStoreBudget;   /* freed, not yet given back included */

/** What is known of the content whose first copy lies in a slot. */
typedef struct KsmSlot {
    guint64 key;                /* of the stable tree */
    guint32 refs;               /* of pages, to all copies together */
    guint16 owner;              /* member that published it, or NOBODY */
    guint8 order;               /* of the tile; KSM_SLOT_FOLLOWER */
    guint8 owner_generation;          /* which holder of that member number */
} KsmSlot;

/* In any slot of a tile but the first: refs is the distance to the first. */
#define KSM_SLOT_FOLLOWER 0xff
#define KSM_SLOT_OWNER_NOBODY 0xffff

G_STATIC_ASSERT(sizeof(KsmSlot) == 16);

/** Slots in a row that were taken for a PUBLISH and are not all used yet. */
typedef struct KsmStoreExtent {
    guint32 next;
    guint32 end;
} KsmStoreExtent;

/**
 * A store with @slots slots of address space (rounded up), for the group
 * @label.  The memory is only taken as slots are.  The budget must outlive the
 * store.
 */
KsmStore *ksm_store_new(const char *label, guint64 slots,
                        KsmStoreBudget *budget, GError **errp);

/**
 * The store of that group which a broker that has gone left, and of which a
 * client sent the descriptor @fd (which stays the caller's).  No slot counts
 * as taken before ksm_store_inherit(), and none is given to anybody before
 * ksm_store_open_to() says up to where all that are in use were inherited.
 */
KsmStore *ksm_store_take_up(int fd, const char *label, KsmStoreBudget *budget,
                            GError **errp);

/**
 * Lets all slots that are written from now on lie on a NUMA node;
 * KSM_NODE_ANY: where the kernel puts them.  KSM_ERROR_GROUP when they cannot.
 */
gboolean ksm_store_bind(KsmStore *store, int node, GError **errp);
int ksm_store_node(const KsmStore *store);

/** Whether @fd is of that store's file. */
gboolean ksm_store_is_file(const KsmStore *store, int fd);

/** Whether no slot of it was ever given to anybody, or all came back. */
gboolean ksm_store_is_unused(const KsmStore *store);

/** Who may map it. */
KsmRoster *ksm_store_roster(const KsmStore *store);

/**
 * The next slot from @from on that has memory in the file; ksm_store_slots()
 * when there is none.  230 ns.
 */
guint32 ksm_store_next_data(const KsmStore *store, guint32 from);

/** Takes a slot that was found so, with one reference, of unknown content. */
void ksm_store_inherit(KsmStore *store, guint32 slot);

/** Slots below @end that are not taken may be given out. */
void ksm_store_open_to(KsmStore *store, guint32 end);

/** Says what inherited slots are: one content in a row of them. */
void ksm_store_describe(KsmStore *store, guint32 head, const KsmSlot *slot);

/** Frees it; clients that have it mapped keep what they see. */
void ksm_store_free(KsmStore *store);

/** A new read-only descriptor for a client, or -1 with @errp set. */
int ksm_store_open(const KsmStore *store, GError **errp);

/** Of all slots together. */
guint64 ksm_store_bytes(const KsmStore *store);
guint32 ksm_store_slots(const KsmStore *store);

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
 * Gives freed slots back to the host, at most about @max of them as they were
 * released, and 8 MiB; TRUE when there are more.
 */
gboolean ksm_store_flush(KsmStore *store, guint max);

/** Whether the address is in the broker's mapping of a slot. */
gboolean ksm_store_find_slot(const KsmStore *store, const guint8 *addr,
                             guint32 *slot);

/** Slots that hold content. */
guint64 ksm_store_used(const KsmStore *store);

/** Memory beside the slots: the map and what is known of each slot. */
guint64 ksm_store_metadata_bytes(const KsmStore *store);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmStore, ksm_store_free)

#endif /* KSM_STORE_H */
