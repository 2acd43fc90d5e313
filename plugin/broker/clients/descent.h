/* SPDX-License-Identifier: GPL-2.0-or-later */
/* descent.h: the children of a group's processes stay in that group. */
#ifndef KSM_DESCENT_H
#define KSM_DESCENT_H

#include "clients/state.h"

typedef struct KsmDescent KsmDescent;

/** @orphans: whether those count whose parents have ended. */
KsmDescent *ksm_descent_new(gboolean orphans);

/**
 * Whether @process, which belongs to no group yet, may name the group of @key;
 * KSM_ERROR_GROUP when it may be a child of a process of another one.
 */
gboolean ksm_descent_check(KsmProcess *process, const char *key,
                           GError **errp);

/** @process is about to end; its sessions are still there. */
void ksm_descent_ended(KsmProcess *process);

#endif /* KSM_DESCENT_H */
