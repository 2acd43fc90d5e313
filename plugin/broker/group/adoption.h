/* SPDX-License-Identifier: GPL-2.0-or-later */
/* adoption.h: a store that outlived its broker becomes this one's. */
#ifndef KSM_ADOPTION_H
#define KSM_ADOPTION_H

#include "group/state.h"
#include "host/identity.h"

typedef struct KsmAdoption KsmAdoption;

/**
 * Puts the store whose descriptor @who sent in the place of
 * the group's own, which must be unused; KSM_ERROR_INVALID when that cannot
 * be.  The connections of other members then are of no use any more.
 */
gboolean ksm_adoption_begin(KsmGroup *group, int fd, const KsmRosterEntry *who,
                            KsmStoreBudget *budget, GError **errp);

/** Whether contents are still being filed, and not all can be found yet. */
gboolean ksm_adoption_is_filing(const KsmGroup *group);

/**
 * Whether @who, with descriptor @fd of the store, may map slots of it since
 * before this broker: @member then is to say which, and is what the store waits
 * for.
 */
gboolean ksm_adoption_claim(KsmMember *member, const KsmRosterEntry *who,
                            int fd);

/** HOLD: binds pages that @member maps to slots in a row. */
gboolean ksm_adoption_hold(KsmMember *member, guint32 page, guint32 slot,
                           guint32 count, GError **errp);

/** It has said all, or its process has gone: before ksm_member_free(). */
void ksm_adoption_held(KsmMember *member);

/** A bounded step of the work that is left; TRUE while there is more. */
gboolean ksm_adoption_step(KsmGroup *group);

/** Of a group that is thrown away. */
void ksm_adoption_free(KsmGroup *group);

guint64 ksm_adoption_bytes(const KsmGroup *group);

/** Processes and sessions that the store still waits for. */
guint ksm_adoption_pending(const KsmGroup *group);

#endif /* KSM_ADOPTION_H */
