/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memfd.h: memfds that a client may map but not resize. */
#ifndef KSM_MEMFD_H
#define KSM_MEMFD_H

#include <fcntl.h>
#include <glib.h>

/** The seals of such a file; some kernels add KSM_MEMFD_SEAL_EXEC. */
#define KSM_MEMFD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define KSM_MEMFD_SEAL_EXEC 0x20 /* F_SEAL_EXEC, Linux 6.3 */

/** Creates a memfd of @bytes with sealed size; -1 with @errp set. */
int ksm_memfd_new(const char *name, guint64 bytes, GError **errp);

#endif /* KSM_MEMFD_H */
