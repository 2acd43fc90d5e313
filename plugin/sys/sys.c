/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sys.c: the system calls behind sys.h. */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int sys_kernel_release(char *to, size_t bytes)
{
    struct utsname host;

    if (uname(&host)) {
        return -errno;
    }
    snprintf(to, bytes, "%s", host.release);
    return 0;
}

static int sys_uffd_open(int *fd)
{
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int err = ENOENT;

    if (dev >= 0) {
        *fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
        err = errno;
        close(dev);
        if (*fd >= 0) {
            return 0;
        }
    }
    /*
     * No UFFD_USER_MODE_ONLY: accesses by KVM and read(2) must block as well.
     */
    *fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (*fd >= 0) {
        return 0;
    }
    return errno == EPERM || dev < 0 ? -errno : -err;
}

static int sys_uffd_api(int fd, uint64_t features)
{
    struct uffdio_api api = { .api = UFFD_API, .features = features };

    return ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

static int sys_uffd_register(int fd, void *addr, size_t bytes, uint64_t mode)
{
    struct uffdio_register reg = {
        .range = { .start = (uintptr_t)addr, .len = bytes },
        .mode = mode,
    };

    return ioctl(fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

static int sys_uffd_unregister(int fd, void *addr, size_t bytes)
{
    struct uffdio_range range = { .start = (uintptr_t)addr, .len = bytes };

    return ioctl(fd, UFFDIO_UNREGISTER, &range) ? -errno : 0;
}

static int sys_uffd_protect(int fd, void *addr, size_t bytes, bool protect)
{
    struct uffdio_writeprotect wp = {
        .range = { .start = (uintptr_t)addr, .len = bytes },
        .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
    };

    return ioctl(fd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

static int sys_uffd_move(int fd, void *dst, void *src, size_t bytes,
                         size_t *moved)
{
    struct uffdio_move move = {
        .dst = (uintptr_t)dst,
        .src = (uintptr_t)src,
        .len = bytes,
        .mode = UFFDIO_MOVE_MODE_DONTWAKE,
    };
    int ret = ioctl(fd, UFFDIO_MOVE, &move) ? -errno : 0;

    *moved = move.move > 0 ? (size_t)move.move : 0;
    return ret;
}

static int sys_uffd_wake(int fd, void *addr, size_t bytes)
{
    struct uffdio_range range = { .start = (uintptr_t)addr, .len = bytes };

    return ioctl(fd, UFFDIO_WAKE, &range) ? -errno : 0;
}

/*
 * This process's /proc/self/maps.  It is opened once, because QEMU's -chroot
 * may make /proc unreachable later, and again in a child of fork(), where the
 * descriptor would show the parent.
 */
static int own_maps(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int fd = -1;
    static pid_t owner;
    int now;

    pthread_mutex_lock(&lock);
    if (owner != getpid()) {
        owner = getpid();
        fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    }
    now = fd;
    pthread_mutex_unlock(&lock);
    return now;
}

static int sys_pagemap_open(int *fd)
{
    own_maps();
    *fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

static int sys_pagemap_scan(int fd, struct pm_scan_arg *arg)
{
    int n = ioctl(fd, PAGEMAP_SCAN, arg);

    return n < 0 ? -errno : n;
}

static int sys_read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
    ssize_t n;

    do {
        n = pread(fd, to, bytes, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    return (size_t)n == bytes ? 0 : -EIO;
}

static int sys_copy_self(void *to, const void *from, size_t bytes)
{
    struct iovec local = { .iov_base = to, .iov_len = bytes };
    struct iovec remote = { .iov_base = (void *)(uintptr_t)from,
                            .iov_len = bytes };
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (n < 0) {
        return -errno;
    }
    return (size_t)n == bytes ? 0 : -EIO;
}

static int sys_map(void *addr, size_t bytes, int prot, int flags, int fd,
                   uint64_t offset, void **mapped)
{
    void *p = mmap(addr, bytes, prot, flags, fd, (off_t)offset);

    if (p == MAP_FAILED) {
        return -errno;
    }
    if (mapped) {
        *mapped = p;
    }
    return 0;
}

static int sys_unmap(void *addr, size_t bytes)
{
    return munmap(addr, bytes) ? -errno : 0;
}

/*
 * Whether src lies in a single mapping.  Kernels without PROCMAP_QUERY (before
 * 6.11) refuse to move more than one mapping.  Called in windows: it makes one
 * or two calls that do not block.
 */
static bool in_one_mapping(void *src, size_t bytes)
{
    struct procmap_query query = {
        .size = sizeof(query),
        .query_addr = (uintptr_t)src,
    };
    int fd = own_maps();

    if (fd < 0) {
        return bytes <= 4096;
    }
    if (ioctl(fd, PROCMAP_QUERY, &query)) {
        return errno == ENOTTY;
    }
    return query.vma_start <= (uintptr_t)src &&
           query.vma_end >= (uintptr_t)src + bytes;
}

/*
 * Linux 6.17 and later move several mappings one by one, and stop at one that
 * cannot be moved (tested on 7.3: EFAULT at a registered one).  Part of src is
 * then empty, and a retry would put these holes in the place of what was just
 * moved.  So a source of several mappings is refused, as earlier kernels do.
 * Only the caller changes these mappings.
 */
static int sys_remap_onto(void *src, size_t bytes, void *dst)
{
    void *p;

    if (!in_one_mapping(src, bytes)) {
        return -EFAULT;
    }
    p = mremap(src, bytes, bytes,
               MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, dst);

    return p == MAP_FAILED ? -errno : 0;
}

static int sys_advise(void *addr, size_t bytes, int advice)
{
    return madvise(addr, bytes, advice) ? -errno : 0;
}

#define MAX_NODES 1024ul /* maximum of the kernel's MAX_NUMNODES */

static int sys_copy_policy(void *to, size_t bytes, const void *from)
{
    unsigned long nodes[MAX_NODES / (8 * sizeof(unsigned long))] = { 0 };
    int mode = MPOL_DEFAULT;

    if (syscall(SYS_get_mempolicy, &mode, nodes, MAX_NODES, from,
                MPOL_F_ADDR)) {
        return -errno;
    }
    /* No policy of its own: the thread's or the system's applies. */
    if (mode == MPOL_DEFAULT) {
        return 0;
    }
    return syscall(SYS_mbind, to, bytes, mode, nodes, MAX_NODES + 1,
                   MPOL_MF_MOVE) ?
               -errno :
               0;
}

static unsigned sys_max_map_count(void)
{
    unsigned count = 0;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");

    if (!f) {
        return 0;
    }
    if (fscanf(f, "%u", &count) != 1) {
        count = 0;
    }
    fclose(f);
    return count;
}

static unsigned sys_count_mappings(const int *stop)
{
    char buf[16384];
    unsigned lines = 0;
    ssize_t i, n;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return 0;
    }
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        if (__atomic_load_n(stop, __ATOMIC_RELAXED) > 0) {
            lines = 0;
            break;
        }
        for (i = 0; i < n; i++) {
            lines += buf[i] == '\n';
        }
    }
    close(fd);
    return lines;
}

static uint64_t faults_of(int who)
{
    struct rusage usage;

    return getrusage(who, &usage) ?
               0 :
               (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

static uint64_t sys_faults_of_others(void)
{
    return faults_of(RUSAGE_SELF) - faults_of(RUSAGE_THREAD);
}

const KsmSys ksm_sys_linux = {
    .kernel_release = sys_kernel_release,
    .kernel_probe = ksm_kernel_probe,
    .uffd_open = sys_uffd_open,
    .uffd_api = sys_uffd_api,
    .uffd_register = sys_uffd_register,
    .uffd_unregister = sys_uffd_unregister,
    .uffd_protect = sys_uffd_protect,
    .uffd_move = sys_uffd_move,
    .uffd_wake = sys_uffd_wake,
    .pagemap_open = sys_pagemap_open,
    .pagemap_scan = sys_pagemap_scan,
    .read_at = sys_read_at,
    .copy_self = sys_copy_self,
    .map = sys_map,
    .unmap = sys_unmap,
    .remap_onto = sys_remap_onto,
    .advise = sys_advise,
    .max_map_count = sys_max_map_count,
    .count_mappings = sys_count_mappings,
    .faults_of_others = sys_faults_of_others,
    .copy_policy = sys_copy_policy,
};

const KsmSys *ksm_sys = &ksm_sys_linux;

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t ksm_sys_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t ksm_sys_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

bool ksm_sys_merges_any(void)
{
    return prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1;
}

bool ksm_sys_huge_always(void)
{
    char line[64] = "";
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

    if (f) {
        if (!fgets(line, sizeof(line), f)) {
            line[0] = '\0';
        }
        fclose(f);
    }
    return strstr(line, "[always]") != NULL;
}

bool ksm_sys_is_private_anonymous(const void *addr, size_t bytes)
{
    unsigned long at = (uintptr_t)addr, end = at + bytes;
    unsigned long from, to, inode;
    char line[512], share;
    FILE *f = fopen("/proc/self/maps", "re");

    while (f && at < end && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx %*c%*c%*c%c %*x %*s %lu", &from, &to, &share,
                   &inode) != 4 ||
            to <= at) {
            continue;
        }
        if (from > at || share != 'p' || inode != 0) {
            break;
        }
        at = to;
    }
    if (f) {
        fclose(f);
    }
    return at >= end;
}
