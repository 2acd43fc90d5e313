/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * group.h: a trust group: its two trees, its store, its members.
 *
 * Two groups have nothing in common but the broker's budgets.
 */
#ifndef KSM_GROUP_H
#define KSM_GROUP_H

#include <glib.h>

#include "group/state.h"
#include "store/store.h"

/** Creates a group.  @slots: address space of the store, in slots. */
KsmGroup *ksm_group_new(const char *label, guint64 slots, guint64 store_id,
                        KsmStoreBudget *budget, GError **errp);

/** Frees a group without members. */
void ksm_group_free(KsmGroup *group);

/**
 * Does most of ksm_group_free() in steps, one per call: releases freed slots,
 * then frees the store, then the trees piece by piece.  FALSE when only
 * ksm_group_free() is left to call.
 */
gboolean ksm_group_drop(KsmGroup *group);

/**
 * One step of the urgent background work: cleaning up after members that left,
 * releasing freed slots, reclaiming a store.  TRUE while there is more to do.
 */
gboolean ksm_group_work(KsmGroup *group);

/** Memory of trees, page tables and metadata, in bytes. */
guint64 ksm_group_bytes(const KsmGroup *group);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmGroup, ksm_group_free)

#endif /* KSM_GROUP_H */
