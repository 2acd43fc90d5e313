#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# writes-and-fault-counts: whose page fault a write to a tracked page is.
#
# Software: Linux 6.12.95 and 7.3.4, Debian's builds, x86-64.
# Behaviour: sixteen pages are armed with userfaultfd's WP_ASYNC and written once.
#   getrusage() then counts a minor fault for each, whether the CPU writes or a
#   system call does (read(2), process_vm_writev(2) to the process itself): the
#   kernel accounts a fault to the thread that makes the call.  So if another
#   process writes with process_vm_writev(2), all sixteen faults are that
#   process's.  The owner of the memory has none, although its pages are reported
#   as written.
# Seen: the output below, the same on both kernels.
# Matters for: plugin/engine/core/due.c, which takes "no fault" for "nothing was
#   written", and scans now and then all the same.

# shellcheck source=findings/lib/linux.sh
. "$(dirname "$0")/lib/linux.sh"

cat >"$dir/program.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pagemap.h"

#define COUNT 16ul

static int pagemap, uffd;
static char *area, content[PAGE];

/* Pages written since the last time; they are armed again. */
static long written(void)
{
    return pagemap_count(pagemap, area, COUNT, WRITTEN | WPALLOWED,
                         WP_MATCHING);
}

static void by_cpu(char *page)
{
    memcpy(page, content, PAGE);
}

static void by_read(char *page)
{
    int fds[2];

    if (pipe(fds) || write(fds[1], content, PAGE) != (ssize_t)PAGE ||
        read(fds[0], page, PAGE) != (ssize_t)PAGE) {
        printf("said: read: %s\n", strerror(errno));
    }
    close(fds[0]);
    close(fds[1]);
}

static void by_writev(char *page, pid_t pid)
{
    struct iovec local = { content, PAGE }, remote = { page, PAGE };

    if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != (ssize_t)PAGE) {
        printf("said: process_vm_writev: %s\n", strerror(errno));
    }
}

static void by_own_writev(char *page)
{
    by_writev(page, getpid());
}

static long faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static void try(const char *what, void (*write_to)(char *page))
{
    unsigned long i;
    long before;

    written();
    before = faults();
    for (i = 0; i < COUNT; i++) {
        write_to(area + i * PAGE);
    }
    printf("said: %s: %s faults, written %ld\n", what,
           faults() - before >= (long)COUNT ? "16 or more" : "fewer",
           written());
}

/* Another process writes; *its faults are its own. */
static void try_other(void)
{
    pid_t parent = getpid(), child;
    int fds[2], status;
    long before, child_faults = -1, ours;

    written();
    if (pipe(fds)) {
        return;
    }
    child = fork();
    if (!child) {
        unsigned long i;
        long first = faults();

        for (i = 0; i < COUNT; i++) {
            by_writev(area + i * PAGE, parent);
        }
        first = faults() - first;
        _exit(write(fds[1], &first, sizeof(first)) != sizeof(first));
    }
    written();                          /* what fork() has made of it */
    before = faults();
    waitpid(child, &status, 0);
    ours = faults() - before;
    if (read(fds[0], &child_faults, sizeof(child_faults)) < 0) {
        printf("said: %s\n", strerror(errno));
    }
    printf("said: another process: its faults %s, ours %s, written %ld\n",
           child_faults >= (long)COUNT ? "16 or more" : "fewer",
           ours < (long)COUNT / 2 ? "few" : "many", written());
}

int main(void)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };
    struct uffdio_register range = { .range = { .len = COUNT * PAGE },
        .mode = UFFDIO_REGISTER_MODE_WP };

    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    area = mmap(NULL, COUNT * PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(area, COUNT * PAGE, MADV_NOHUGEPAGE);
    madvise(area, COUNT * PAGE, MADV_DONTFORK);
    memset(area, 1, COUNT * PAGE);
    range.range.start = (unsigned long)area;
    if (ioctl(uffd, UFFDIO_API, &api) ||
        ioctl(uffd, UFFDIO_REGISTER, &range)) {
        printf("said: not to be registered: %s\n", strerror(errno));
    }
    try("the CPU", by_cpu);
    try("read(2)", by_read);
    try("process_vm_writev(2) to itself", by_own_writev);
    try_other();
    fflush(stdout);
    reboot(RB_AUTOBOOT);
    return 0;
}
END

linux_program "$dir/program.c"
expect_on_both "the CPU: 16 or more faults, written 16
read(2): 16 or more faults, written 16
process_vm_writev(2) to itself: 16 or more faults, written 16
another process: its faults 16 or more, ours few, written 16"
