/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-target.h: finds the sessions that a request names. */
#ifndef KSM_CONTROL_TARGET_H
#define KSM_CONTROL_TARGET_H

#include <glib.h>

#include "clients/state.h"

/**
 * The sessions that @target names: NULL or "all"; "vm:NAME", "group:NAME",
 * "pid:NUMBER"; or a plain NAME of a VM or a group.  The caller frees the
 * array.  Fails with KSM_ERROR_INVALID if there is none or the name is
 * ambiguous; *@code is then the protocol's error code, such as "no-such-vm".
 */
GPtrArray *ksm_control_target(KsmBroker *broker, const char *target,
                              const char **code, GError **errp);

#endif /* KSM_CONTROL_TARGET_H */
