/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * numa.c: binds the memory of a file to one NUMA node.
 *
 * mbind(2) on a shared mapping of a memfd sets the policy of the file, not of
 * the mapping.  It applies to every page that any process adds to the file by
 * write, fault or fallocate(2), whatever the policy of that process is, and to
 * the copies that copy-on-write makes of its pages in private mappings.  (We
 * call mbind(2) directly, because nothing else of libnuma would be needed.)
 *
 * But the mapping remembers the policy as well, and mbind(2) does nothing if a
 * mapping already has that policy, although the file may have got another one
 * through another mapping (mbind_range() in mm/mempolicy.c of Linux 6.18;
 * tested).  So a flag that makes no difference to a file is toggled with each
 * call.
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
    /* The kernel uses one bit less than maxnode. */
    return syscall(SYS_mbind, addr, bytes, mode, nodes, KSM_MAX_NODE + 2ul,
                   0) != 0 ?
               -errno :
               0;
}
