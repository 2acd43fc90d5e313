/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * member.h: one client's part of a group: the words of its pages, its slot
 * references and its deferred results.  It does not know about sockets.
 */
#ifndef KSM_MEMBER_H
#define KSM_MEMBER_H

#include <glib.h>

#include "group/stable-tree.h"
#include "group/state.h"

/** Adds a member to @group; NULL with @errp set if the group is full. */
KsmMember *ksm_member_new(KsmGroup *group, guint64 pages, GError **errp);

/**
 * Frees a member that holds nothing: it was never used, or was cleaned with
 * KSM_CLEANING_ALL.  If it is reclaiming, call ksm_reclaim_done() first.
 */
void ksm_member_free(KsmMember *member);

/** Grows the page table; @pages must not be less than its present size. */
gboolean ksm_member_resize(KsmMember *member, guint64 pages, GError **errp);

/*
 * Change one page's word and all counts that depend on it.  Unlisting a
 * publisher also ends its turn to publish.
 */
void ksm_member_list(KsmMember *member, guint32 page, guint32 tag);
void ksm_member_unlist(KsmMember *member, guint32 page);
void ksm_member_set_publisher(KsmMember *member, guint32 page, guint32 value);
void ksm_member_bind(KsmMember *member, guint32 page, guint32 slot);
void ksm_member_unbind(KsmMember *member, guint32 page);

/** Takes a slot reference for @page; NONE if the count would overflow. */
guint32 ksm_group_bind(KsmMember *member, guint32 page,
                       const KsmStableEntry *entry);

/**
 * Withdraws or releases the pages first .. first + count - 1, which must be in
 * the table.  Pages in any other state are skipped.
 */
void ksm_member_withdraw(KsmMember *member, guint64 first, guint64 count);
void ksm_member_release(KsmMember *member, guint64 first, guint64 count);

/**
 * Starts taking back the listings, or everything, in steps of the group's work
 * (ksm_group_work()), which calls @cleaned at the end.
 */
void ksm_member_clean(KsmMember *member, KsmCleaning what,
                      KsmMemberCleaned cleaned, gpointer opaque);

/** One bounded step; TRUE while there is more to do. */
gboolean ksm_member_clean_step(KsmMember *member);

/** Memory of the member, in bytes. */
guint64 ksm_member_bytes(const KsmMember *member);

/** Stores a result until it is fetched.  FALSE: no room, it is not stored. */
gboolean ksm_member_push_result(KsmMember *member,
                                const KsmWaitingResult *result);

#endif /* KSM_MEMBER_H */
