/* SPDX-License-Identifier: GPL-2.0-or-later */
/* content.h: pages in the store, and whether they can be found. */
#ifndef KSM_CONTENT_H
#define KSM_CONTENT_H

#include <glib.h>

#include "group/state.h"

/** Drops one reference to @slot. */
void ksm_group_unref_slot(KsmGroup *group, guint32 slot);

/** The memory of @slot has failed: its content can no longer be found there. */
void ksm_group_retire(KsmGroup *group, guint32 slot);

/** A page is no longer listed. */
void ksm_group_note_unlisted(KsmGroup *group);

/** Whether a sweep is worth it: many listings ended, or results were lost. */
gboolean ksm_group_sweep_is_due(const KsmGroup *group);

/** Reads the clock into @group->now_us, at the start of a request. */
void ksm_group_tick(KsmGroup *group);

/** Calls @group->wake. */
void ksm_group_wake(KsmGroup *group);

#endif /* KSM_CONTENT_H */
