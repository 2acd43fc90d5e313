/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descent.h: children of a group's processes stay in that group. */
#ifndef KSM_DESCENT_H
#define KSM_DESCENT_H

#include "clients/state.h"

typedef struct KsmDescent KsmDescent;

/** @orphans: also check processes whose parents have exited. */
KsmDescent *ksm_descent_new(gboolean orphans);

/**
 * Whether @process, which belongs to no group yet, may join the group @key.
 * KSM_ERROR_GROUP if it may be a child of a process in another group.
 */
gboolean ksm_descent_check(KsmProcess *process, const char *key, GError **errp);

/** @process has exited; must be called while its sessions still exist. */
void ksm_descent_ended(KsmProcess *process);

#endif /* KSM_DESCENT_H */
