/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * member.h: one client's part of a group: the words of its pages, the slots
 * it refers to, the results that wait for it.  Knows nothing of sockets.
 */
#ifndef KSM_MEMBER_H
#define KSM_MEMBER_H

#include <glib.h>

#include "group/stable-tree.h"
#include "group/state.h"

/** A new member of @group; NULL when it has all the members it can. */
KsmMember *ksm_member_new(KsmGroup *group, guint64 pages, GError **errp);

/**
 * Frees a member that holds nothing: never used, or cleaned of all; one that
 * is holding, after ksm_reclaim_done().
 */
void ksm_member_free(KsmMember *member);

/** Makes it longer; @pages must not be below what it has. */
gboolean ksm_member_resize(KsmMember *member, guint64 pages, GError **errp);

/*
 * Changes of one page's word, with all counts that hang on it.  To unlist also
 * ends that a page is to be published.
 */
void ksm_member_list(KsmMember *member, guint32 page, guint32 tag);
void ksm_member_unlist(KsmMember *member, guint32 page);
void ksm_member_set_publisher(KsmMember *member, guint32 page, guint32 value);
void ksm_member_bind(KsmMember *member, guint32 page, guint32 slot);
void ksm_member_unbind(KsmMember *member, guint32 page);

/** Takes a reference for @page of @member; NONE when there are too many. */
guint32 ksm_group_bind(KsmMember *member, guint32 page,
                       const KsmStableEntry *entry);

/**
 * Withdraws or releases the pages first .. first + count - 1, which must be
 * in the table.  Pages in another state are passed over.
 */
void ksm_member_withdraw(KsmMember *member, guint64 first, guint64 count);
void ksm_member_release(KsmMember *member, guint64 first, guint64 count);

/**
 * Begins to take back listings, or everything, in steps of the group's work;
 * @cleaned is called from there at the end.
 */
void ksm_member_clean(KsmMember *member, KsmCleaning what,
                      KsmMemberCleaned cleaned, gpointer opaque);

/** One bounded step; TRUE while there is more to do. */
gboolean ksm_member_clean_step(KsmMember *member);

guint64 ksm_member_bytes(const KsmMember *member);

#endif /* KSM_MEMBER_H */
