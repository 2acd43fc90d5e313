/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.h: a trust group: its two trees, its store, its members.
 *
 * Nothing is common to two groups but the broker's budgets.
 */
#ifndef KSM_GROUP_H
#define KSM_GROUP_H

#include <glib.h>

#include "tree/fp-tree.h"
#include "ksm-protocol.h"
#include "group/member.h"
#include "group/stable-tree.h"
#include "store/store.h"

#define KSM_GROUP_MAX_MEMBERS 65535u

struct KsmGroup {
    char *label;                /* for logs: uid and name */
    KsmStore *store;
    KsmFpTree *stable;          /* content -> slots, stable-tree.h */
    KsmFpTree *unstable;        /* content -> listed page, unstable-tree.h */
    KsmTagKey tag_key;
    guint64 store_id;
    GPtrArray *members;         /* by id, NULL where none */
    GArray *turns;              /* guint8 by id */
    guint member_count;
    guint16 next_id;
    guint64 listed;             /* over all members */
    guint64 bound;
    guint64 retired;            /* contents whose memory failed */
    GQueue cleaning;            /* members that are being cleaned */
    struct KsmAdoption *adoption;   /* of the store; NULL: over, or none */

    guint64 sweep_cursor;
    gboolean sweeping;          /* a pass is under way */
    gboolean resend;            /* the next pass looks for lost hints */
    gboolean resending;         /* this one does */
    guint64 unlisted;           /* listings ended since the pass began */
    guint sweep_debt;           /* entries to visit for insertions made */

    gint64 (*clock_us)(void);   /* g_get_monotonic_time, or a test's */
    gint64 now_us;              /* when the request at work began */
    void (*wake)(KsmGroup *group, gpointer opaque);
    gpointer opaque;            /* of wake: there is background work */
};

/** @slots: address space of the store. */
KsmGroup *ksm_group_new(const char *label, guint64 slots, guint64 store_id,
                        KsmStoreBudget *budget, GError **errp);

/** Of a group without members. */
void ksm_group_free(KsmGroup *group);

/** The same in steps: gives slots back, frees the store, then a part of the
 * trees at each call; FALSE when only ksm_group_free() is left. */
gboolean ksm_group_drop(KsmGroup *group);

/**
 * LOOKUP.  FALSE with KSM_ERROR_PROTOCOL when an item is not allowed; items
 * before it may have been carried out.
 */
gboolean ksm_group_lookup(KsmMember *member, const KsmLookup *items,
                          guint count, KsmAnswer *answers, GError **errp);

/** PUBLISH; content i at @contents + i * 4096, where a client may write. */
gboolean ksm_group_publish(KsmMember *member, const KsmPublish *items,
                           guint count, const guint8 *contents,
                           KsmAnswer *answers, GError **errp);

/** HINTS: binds up to @max pages; returns their number. */
guint ksm_group_take_hints(KsmMember *member, KsmHint *hints, guint max);

/** Takes a reference for @page of @member; NONE when there are too many. */
guint32 ksm_group_bind(KsmMember *member, guint32 page,
                       const KsmStableEntry *entry);

/** Gives the reference to @slot back. */
void ksm_group_unref_slot(KsmGroup *group, guint32 slot);

/** The memory of @slot has failed: its content is found no more there. */
void ksm_group_retire(KsmGroup *group, guint32 slot);

/** A page is listed no more. */
void ksm_group_note_unlisted(KsmGroup *group);

/** The unstable tree may have grown. */
void ksm_group_note_inserted(KsmGroup *group);

/** Takes the time for what begins now. */
void ksm_group_tick(KsmGroup *group);

/** Calls @group->wake. */
void ksm_group_wake(KsmGroup *group);

/**
 * A step of what should not wait: members that have gone, slots that were
 * freed, a store that is taken up.  TRUE while there is more.
 */
gboolean ksm_group_work(KsmGroup *group);

/** A step of the sweep of the unstable tree, if one is due; TRUE: go on. */
gboolean ksm_group_sweep(KsmGroup *group);

guint64 ksm_group_bytes(const KsmGroup *group);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmGroup, ksm_group_free)

#endif /* KSM_GROUP_H */
