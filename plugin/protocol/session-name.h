/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session-name.h: names of VMs and memory backends, made safe for the wire.
 *
 * A session is named "VM/BACKEND", or by a name without a slash.  The name is
 * for display only.  It contains only printable ASCII, because it appears in
 * logs, tables and metrics.  If it is too long, VM and BACKEND are truncated
 * separately and visibly, so that a VM can be found by its name whatever its
 * backends are called.
 */
#ifndef KSM_SESSION_NAME_H
#define KSM_SESSION_NAME_H

#include <glib.h>

/*
 * Maximum lengths that are not truncated.  KubeVirt names a VM NAMESPACE_NAME,
 * each of up to 63 characters.
 */
#define KSM_NAME_VM_MAX 191u
#define KSM_NAME_BACKEND_MAX 63u

/**
 * Returns @name with each character that is not printable ASCII replaced by
 * '?'.  If it is longer than @most characters, its end is replaced by "...".
 * Free with g_free().
 */
char *ksm_session_name_part(const char *name, gsize most);

/** The same for both parts of "VM/BACKEND". */
char *ksm_session_name(const char *name, gsize vm_most, gsize backend_most);

#endif /* KSM_SESSION_NAME_H */
