/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h: the names of VMs and groups as users see them. */
#ifndef KSM_NAMES_H
#define KSM_NAMES_H

#include "clients/state.h"

/** The VM's part of a session's name, before the last '/'. */
char *ksm_names_vm(const KsmSession *session);

/** The group's name without user and node, from its family "UID:NAME". */
const char *ksm_names_group(const char *family);

#endif /* KSM_NAMES_H */
