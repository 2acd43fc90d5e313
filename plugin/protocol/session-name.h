/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session-name.h: names of VMs and memory backends, fit for the wire.
 *
 * A session is called "VM/BACKEND", or by a name without a slash.  It is for
 * people only.  It has printable ASCII alone, as it stands in logs, tables and
 * metrics; and where it is too long, VM and BACKEND are cut each for itself,
 * visibly, so that a VM is found by its name whatever its backends are called.
 */
#ifndef KSM_SESSION_NAME_H
#define KSM_SESSION_NAME_H

#include <glib.h>

/* The longest parts that are not cut.  KubeVirt calls a VM
   NAMESPACE_NAME, of 63 characters each. */
#define KSM_NAME_VM_MAX        191u
#define KSM_NAME_BACKEND_MAX   63u

/**
 * @name with a '?' for each character that is no printable ASCII, and, if it
 * is longer than @most characters, with "..." in the place of its end.
 */
char *ksm_session_name_part(const char *name, gsize most);

/** The same for both parts of "VM/BACKEND". */
char *ksm_session_name(const char *name, gsize vm_most, gsize backend_most);

#endif /* KSM_SESSION_NAME_H */
