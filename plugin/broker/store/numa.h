/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numa.h: binds the memory of a file to one NUMA node. */
#ifndef KSM_NUMA_H
#define KSM_NUMA_H

#include <glib.h>

/**
 * Binds the file that is mapped shared at @addr (@bytes long) to @node (0 to
 * KSM_MAX_NODE): pages that are allocated from now on lie there, whichever
 * process causes the allocation.  A repeated call must pass another parity of
 * @alternate than the last one.  Returns 0 or -errno.
 */
int ksm_numa_bind(gconstpointer addr, gsize bytes, int node, guint alternate);

#endif /* KSM_NUMA_H */
