/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * numa.c: memory that is to lie on one NUMA node.
 *
 * mbind(2) on a shared mapping of memory gives a policy to the file, not to the
 * mapping: it holds for every page that anybody's write, fault or fallocate(2)
 * adds to the file, whatever the policy of that process is, and for the copies
 * that copy-on-write makes of its pages in private mappings.  (Called directly:
 * of libnuma nothing else would be wanted.)
 *
 * But the mapping remembers it, too, and mbind(2) does nothing where a mapping
 * has that policy already, though the file may have got another one through
 * another mapping (mbind_range() in mm/mempolicy.c of Linux 6.18; tried).  So a
 * flag that makes no difference to a file changes from one call to the next.
 */
#include "store/numa.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ksm-protocol.h"

#define WORD_BITS (8 * (int)sizeof(unsigned long))

int ksm_numa_bind(gconstpointer addr, gsize bytes, int node, guint alternate)
{
    int mode = MPOL_BIND | (alternate % 2 != 0 ? MPOL_F_STATIC_NODES : 0);
    unsigned long nodes[(KSM_MAX_NODE + 1) / WORD_BITS] = { 0 };

    nodes[node / WORD_BITS] = 1ul << node % WORD_BITS;
    /* The kernel takes one bit less than it is told there are. */
    return syscall(SYS_mbind, addr, bytes, mode, nodes,
                   KSM_MAX_NODE + 2ul, 0) != 0 ? -errno : 0;
}
