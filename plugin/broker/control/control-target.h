/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-target.h: which sessions a request means. */
#ifndef KSM_CONTROL_TARGET_H
#define KSM_CONTROL_TARGET_H

#include <glib.h>

#include "clients/state.h"

/**
 * The sessions that @target names: NULL or "all"; "vm:NAME", "group:NAME",
 * "pid:NUMBER"; or a plain NAME, of a VM or else of a group.  Fails with
 * KSM_ERROR_INVALID when there is none (*@code then says "no-such-vm" or the
 * like) or when it could mean several.
 */
GPtrArray *ksm_control_target(KsmBroker *broker, const char *target,
                              const char **code, GError **errp);

#endif /* KSM_CONTROL_TARGET_H */
