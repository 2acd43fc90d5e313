/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sys.h: every raw system call of the engine, behind a table of functions.
 *
 * All return 0 (or a count) or -errno, never log and never allocate.  The
 * table is a variable so that tests can make any call fail at any point; the
 * engine calls through ksm_sys only.
 */
#ifndef KSM_SYS_H
#define KSM_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel.h"
#include "linux-abi.h"

typedef struct KsmSys {
    /* "6.12.37", as uname tells it. */
    int (*kernel_release)(char *to, size_t bytes);
    void (*kernel_probe)(const char *root, KsmKernelHost *host);

    /* A full userfaultfd: /dev/userfaultfd first, then the system call. */
    int (*uffd_open)(int *fd);
    /* The handshake; fails with -EINVAL when a feature is missing. */
    int (*uffd_api)(int fd, uint64_t features);
    int (*uffd_register)(int fd, void *addr, size_t bytes, uint64_t mode);
    int (*uffd_unregister)(int fd, void *addr, size_t bytes);
    int (*uffd_protect)(int fd, void *addr, size_t bytes, bool protect);
    /* *moved: bytes that moved, also when it fails. */
    int (*uffd_move)(int fd, void *dst, void *src, size_t bytes,
                     size_t *moved);
    int (*uffd_wake)(int fd, void *addr, size_t bytes);

    int (*pagemap_open)(int *fd);
    /* Number of regions filled in, or -errno; arg->walk_end is set. */
    int (*pagemap_scan)(int fd, struct pm_scan_arg *arg);

    /* All of it, or -EIO. */
    int (*read_at)(int fd, void *to, size_t bytes, uint64_t offset);
    /* Copies memory of this process through the kernel's mapping of it. */
    int (*copy_self)(void *to, const void *from, size_t bytes);
    int (*map)(void *addr, size_t bytes, int prot, int flags, int fd,
               uint64_t offset, void **mapped);
    int (*unmap)(void *addr, size_t bytes);
    /*
     * Moves the page tables of src onto dst; src stays mapped, empty.  A source
     * of several mappings is refused (-EFAULT): see sys_remap_onto().
     */
    int (*remap_onto)(void *src, size_t bytes, void *dst);
    int (*advise)(void *addr, size_t bytes, int advice);
    /* vm.max_map_count; 0 when it cannot be read. */
    unsigned (*max_map_count)(void);
    /*
     * Mappings of this process now; 0 when they cannot be counted, or *stop
     * (atomic) became greater than 0.
     */
    unsigned (*count_mappings)(const int *stop);
    /* Page faults so far of this process's threads but the calling one. */
    uint64_t (*faults_of_others)(void);
    /* Gives a range the NUMA policy of the mapping at `from`, if it has one. */
    int (*copy_policy)(void *to, size_t bytes, const void *from);
} KsmSys;

/* The real calls. */
extern const KsmSys ksm_sys_linux;

/* What the engine calls; ksm_sys_linux unless a test changed it. */
extern const KsmSys *ksm_sys;

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t ksm_sys_now_ns(void);

/* CPU time of the calling thread, nanoseconds. */
uint64_t ksm_sys_thread_cpu_ns(void);

/* vm.max_map_count, or 0 when it cannot be read. */
static inline unsigned ksm_sys_max_map_count(void)
{
    return ksm_sys->max_map_count();
}

/* Whether new mappings are mergeable by ksmd unasked (PR_SET_MEMORY_MERGE). */
bool ksm_sys_merges_any(void);

/* Whether anonymous memory gets huge pages unasked (THP `always`). */
bool ksm_sys_huge_always(void);

/* Whether all of the range is mapped, private and of no file. */
bool ksm_sys_is_private_anonymous(const void *addr, size_t bytes);

#endif /* KSM_SYS_H */
