/* SPDX-License-Identifier: GPL-2.0-or-later */
/* memfd.h: files in memory that a client may map but not resize. */
#ifndef KSM_MEMFD_H
#define KSM_MEMFD_H

#include <glib.h>

/** A memfd of @bytes that nobody can resize any more; -1 with @errp set. */
int ksm_memfd_new(const char *name, guint64 bytes, GError **errp);

#endif /* KSM_MEMFD_H */
