/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reclaim.h: takes over a store that outlived its broker. */
#ifndef KSM_RECLAIM_H
#define KSM_RECLAIM_H

#include "group/state.h"
#include "host/identity.h"

typedef struct KsmReclaim KsmReclaim;

/**
 * Replaces the group's own store, which must be unused, with the store whose
 * descriptor @fd was sent by @who.  @fd stays the caller's.  KSM_ERROR_INVALID
 * if that is not possible.  Afterwards the connections of other members are of
 * no use any more.
 */
gboolean ksm_reclaim_begin(KsmGroup *group, int fd, const KsmRosterEntry *who,
                           KsmStoreBudget *budget, GError **errp);

/** Whether some inherited pages are not in the stable tree yet. */
gboolean ksm_reclaim_is_filing(const KsmGroup *group);

/**
 * Whether @who, which sent the descriptor @fd of the store, may have mapped
 * slots before this broker started.  If so, @member must report them (RECLAIM),
 * and the store waits for it.
 */
gboolean ksm_reclaim_claim(KsmMember *member, const KsmRosterEntry *who,
                           int fd);

/** RECLAIM: binds @count pages of @member to the consecutive slots it maps. */
gboolean ksm_reclaim_range(KsmMember *member, guint32 page, guint32 slot,
                           guint32 count, GError **errp);

/**
 * @member has reported all its slots, or its process has exited.  Must be
 * called before ksm_member_free().
 */
void ksm_reclaim_done(KsmMember *member);

/** One bounded step of the remaining work; TRUE while there is more. */
gboolean ksm_reclaim_step(KsmGroup *group);

/** Frees @group->reclaim, for a group that is being freed. */
void ksm_reclaim_free(KsmGroup *group);

/** Memory of the reclaim state, in bytes. */
guint64 ksm_reclaim_bytes(const KsmGroup *group);

/** Number of claimants and sessions that the store still waits for. */
guint ksm_reclaim_pending(const KsmGroup *group);

#endif /* KSM_RECLAIM_H */
