/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h: what people call a VM and a group. */
#ifndef KSM_NAMES_H
#define KSM_NAMES_H

#include "clients/state.h"

/** The VM's part of a session's name: what stands before its last '/'. */
char *ksm_names_vm(const KsmSession *session);

/** The group's name, without user and node; of its family. */
const char *ksm_names_group(const char *family);

#endif /* KSM_NAMES_H */
