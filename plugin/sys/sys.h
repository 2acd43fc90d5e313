/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sys.h: every raw system call of the engine, behind a table of functions.
 *
 * All functions return 0 (or a count) or -errno; they never log or allocate.
 * Sizes and offsets are in bytes.  The table is a variable so that tests can
 * make any call fail at any point; the engine calls only through ksm_sys.
 */
#ifndef KSM_SYS_H
#define KSM_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel.h"
#include "linux-abi.h"

typedef struct KsmSys {
    /* "6.12.37", as reported by uname(2). */
    int (*kernel_release)(char *to, size_t bytes);
    void (*kernel_probe)(const char *root, KsmKernelHost *host);

    /*
     * A userfaultfd with kernel faults: /dev/userfaultfd, else the system
     * call.
     */
    int (*uffd_open)(int *fd);
    /* UFFDIO_API; fails with -EINVAL if a feature is missing. */
    int (*uffd_api)(int fd, uint64_t features);
    int (*uffd_register)(int fd, void *addr, size_t bytes, uint64_t mode);
    int (*uffd_unregister)(int fd, void *addr, size_t bytes);
    int (*uffd_protect)(int fd, void *addr, size_t bytes, bool protect);
    /* *moved: bytes that were moved, also on failure. */
    int (*uffd_move)(int fd, void *dst, void *src, size_t bytes, size_t *moved);
    int (*uffd_wake)(int fd, void *addr, size_t bytes);

    int (*pagemap_open)(int *fd);
    /* Number of ranges filled in, or -errno; sets arg->walk_end. */
    int (*pagemap_scan)(int fd, struct pm_scan_arg *arg);

    /* Reads all bytes, or fails with -EIO. */
    int (*read_at)(int fd, void *to, size_t bytes, uint64_t offset);
    /* Copies memory of this process with process_vm_readv(2). */
    int (*copy_self)(void *to, const void *from, size_t bytes);
    int (*map)(void *addr, size_t bytes, int prot, int flags, int fd,
               uint64_t offset, void **mapped);
    int (*unmap)(void *addr, size_t bytes);
    /*
     * Moves the page tables of src onto dst; src stays mapped and becomes
     * empty.  A source of several mappings is refused (-EFAULT): see
     * sys_remap_onto().
     */
    int (*remap_onto)(void *src, size_t bytes, void *dst);
    int (*advise)(void *addr, size_t bytes, int advice);
    /* vm.max_map_count; 0 if it cannot be read. */
    unsigned (*max_map_count)(void);
    /*
     * Current number of mappings of this process.  0 if they cannot be
     * counted, or if *stop (atomic) became greater than 0.
     */
    unsigned (*count_mappings)(const int *stop);
    /* Page faults so far of this process's threads but the calling one. */
    uint64_t (*faults_of_others)(void);
    /* Copies the NUMA policy of the mapping at `from`, if it has one. */
    int (*copy_policy)(void *to, size_t bytes, const void *from);
} KsmSys;

/* The real system calls. */
extern const KsmSys ksm_sys_linux;

/* The table that the engine uses; ksm_sys_linux unless a test replaced it. */
extern const KsmSys *ksm_sys;

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t ksm_sys_now_ns(void);

/* CPU time of the calling thread in nanoseconds. */
uint64_t ksm_sys_thread_cpu_ns(void);

/* vm.max_map_count, or 0 when it cannot be read. */
static inline unsigned ksm_sys_max_map_count(void)
{
    return ksm_sys->max_map_count();
}

/* Whether ksmd may merge new mappings by default (PR_SET_MEMORY_MERGE). */
bool ksm_sys_merges_any(void);

/* Whether anonymous memory gets huge pages by default (THP `always`). */
bool ksm_sys_huge_always(void);

/* Whether the whole range is mapped, private and not of a file. */
bool ksm_sys_is_private_anonymous(const void *addr, size_t bytes);

#endif /* KSM_SYS_H */
