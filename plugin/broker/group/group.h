/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.h: a trust group: its two trees, its store, its members.
 *
 * Nothing is common to two groups but the broker's budgets.
 */
#ifndef KSM_GROUP_H
#define KSM_GROUP_H

#include <glib.h>

#include "group/state.h"
#include "store/store.h"

/** @slots: address space of the store. */
KsmGroup *ksm_group_new(const char *label, guint64 slots, guint64 store_id,
                        KsmStoreBudget *budget, GError **errp);

/** Of a group without members. */
void ksm_group_free(KsmGroup *group);

/** The same in steps: gives slots back, frees the store, then a part of the
 * trees at each call; FALSE when only ksm_group_free() is left. */
gboolean ksm_group_drop(KsmGroup *group);

/**
 * A step of what should not wait: members that have gone, slots that were
 * freed, a store that is taken up.  TRUE while there is more.
 */
gboolean ksm_group_work(KsmGroup *group);

guint64 ksm_group_bytes(const KsmGroup *group);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmGroup, ksm_group_free)

#endif /* KSM_GROUP_H */
