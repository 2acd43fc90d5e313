/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numa.h: memory that is to lie on one NUMA node. */
#ifndef KSM_NUMA_H
#define KSM_NUMA_H

#include <glib.h>

/**
 * Lets pages that the file mapped shared at @addr is given from now on lie on
 * @node (0 to KSM_MAX_NODE), whoever causes it.  To be said again with another
 * @alternate than the last time.  0 or -errno.
 */
int ksm_numa_bind(gconstpointer addr, gsize bytes, int node, guint alternate);

#endif /* KSM_NUMA_H */
