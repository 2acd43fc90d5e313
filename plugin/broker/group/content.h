/* SPDX-License-Identifier: GPL-2.0-or-later */
/* content.h: what lies in the store, and can be found. */
#ifndef KSM_CONTENT_H
#define KSM_CONTENT_H

#include <glib.h>

#include "group/state.h"

/** Gives the reference to @slot back. */
void ksm_group_unref_slot(KsmGroup *group, guint32 slot);

/** The memory of @slot has failed: its content is found no more there. */
void ksm_group_retire(KsmGroup *group, guint32 slot);

/** A page is listed no more. */
void ksm_group_note_unlisted(KsmGroup *group);

/** Whether so many are, or results got lost, that a sweep is worth it. */
gboolean ksm_group_sweep_is_due(const KsmGroup *group);

/** Takes the time for what begins now. */
void ksm_group_tick(KsmGroup *group);

/** Calls @group->wake. */
void ksm_group_wake(KsmGroup *group);

#endif /* KSM_CONTENT_H */
