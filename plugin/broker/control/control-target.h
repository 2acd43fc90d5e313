/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-target.h: which sessions a request means. */
#ifndef KSM_CONTROL_TARGET_H
#define KSM_CONTROL_TARGET_H

#include "broker.h"

/**
 * The sessions that @target names: NULL or "all"; "vm:NAME", "group:NAME",
 * "pid:NUMBER"; or a plain NAME, of a VM or else of a group.  Fails with
 * KSM_ERROR_INVALID when there is none (*@code then says "no-such-vm" or the
 * like) or when it could mean several.
 */
GPtrArray *ksm_control_target(KsmBroker *broker, const char *target,
                              const char **code, GError **errp);

/** The VM's part of a session's name: what stands before its last '/'. */
char *ksm_control_vm_name(const KsmSession *session);

/** The group's name, without user and node; of its family. */
const char *ksm_control_group_name(const char *family);

#endif /* KSM_CONTROL_TARGET_H */
