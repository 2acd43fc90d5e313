/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reclaim.h: a store that outlived its broker becomes this one's. */
#ifndef KSM_RECLAIM_H
#define KSM_RECLAIM_H

#include "group/state.h"
#include "host/identity.h"

typedef struct KsmReclaim KsmReclaim;

/**
 * Puts the store whose descriptor @who sent in the place of
 * the group's own, which must be unused; KSM_ERROR_INVALID when that cannot
 * be.  The connections of other members then are of no use any more.
 */
gboolean ksm_reclaim_begin(KsmGroup *group, int fd, const KsmRosterEntry *who,
                            KsmStoreBudget *budget, GError **errp);

/** Whether contents are still being filed, and not all can be found yet. */
gboolean ksm_reclaim_is_filing(const KsmGroup *group);

/**
 * Whether @who, with descriptor @fd of the store, may map slots of it since
 * before this broker: @member then is to say which, and is what the store waits
 * for.
 */
gboolean ksm_reclaim_claim(KsmMember *member, const KsmRosterEntry *who,
                            int fd);

/** RECLAIM: binds pages that @member maps to slots in a row. */
gboolean ksm_reclaim_range(KsmMember *member, guint32 page, guint32 slot,
                           guint32 count, GError **errp);

/** It has said all, or its process has gone: before ksm_member_free(). */
void ksm_reclaim_done(KsmMember *member);

/** A bounded step of the work that is left; TRUE while there is more. */
gboolean ksm_reclaim_step(KsmGroup *group);

/** Of a group that is thrown away. */
void ksm_reclaim_free(KsmGroup *group);

guint64 ksm_reclaim_bytes(const KsmGroup *group);

/** Processes and sessions that the store still waits for. */
guint ksm_reclaim_pending(const KsmGroup *group);

#endif /* KSM_RECLAIM_H */
