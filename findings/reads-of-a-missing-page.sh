#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# reads-of-a-missing-page: which reads of another's memory wait for a userfaultfd.
#
# Software: Linux 6.12.95 and 7.3.4, Debian's builds, x86-64.
# Behaviour: a page that is missing in a range registered with
#   UFFDIO_REGISTER_MODE_MISSING keeps process_vm_readv(2) waiting until the page
#   is filled.  A read of /proc/PID/mem does not wait: it fails at once with EIO.
#   So a debugger sees an error where another tool sees the memory, later.
# Seen: the output below, the same on both.
# Matters for: plugin/engine/memory/staging.c and docs/safety.md (what may meet a
#   window waits, or fails; it never waits for ever).

# shellcheck source=findings/lib/linux.sh
. "$(dirname "$0")/lib/linux.sh"

cat >"$dir/program.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ul

static char *area;
static int uffd, done;

/* Fills each page that somebody waits for, once the wait has been seen. */
static void *fill(void *unused)
{
    static char content[PAGE] __attribute__((aligned(4096)));
    struct uffd_msg message;

    (void)unused;
    memset(content, 'x', PAGE);
    while (read(uffd, &message, sizeof(message)) == sizeof(message)) {
        struct uffdio_copy copy = {
            .dst = message.arg.pagefault.address & ~(PAGE - 1),
            .src = (unsigned long)content, .len = PAGE,
        };

        printf("said: somebody waits: %s\n",
               __atomic_load_n(&done, __ATOMIC_SEQ_CST) ? "no more" : "yes");
        ioctl(uffd, UFFDIO_COPY, &copy);
    }
    return NULL;
}

static void by_call(void)
{
    char byte = 0;
    struct iovec to = { &byte, 1 }, from = { area, 1 };
    ssize_t got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    printf("said: process_vm_readv: %zd, '%c'\n", got, byte);
}

static void by_file(void)
{
    int fd = open("/proc/self/mem", O_RDONLY);
    char byte = 0;
    ssize_t got = pread(fd, &byte, 1, (off_t)(unsigned long)(area + PAGE));

    printf("said: /proc/self/mem: %zd, %s\n", got,
           got < 0 ? strerror(errno) : "read");
}

int main(void)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register range = { .range = { .len = 2 * PAGE },
        .mode = UFFDIO_REGISTER_MODE_MISSING };
    pthread_t thread;

    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    area = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    range.range.start = (unsigned long)area;
    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
        ioctl(uffd, UFFDIO_REGISTER, &range)) {
        printf("said: no userfaultfd: %s\n", strerror(errno));
    } else {
        pthread_create(&thread, NULL, fill, NULL);
        by_call();
        by_file();
    }
    fflush(stdout);
    reboot(RB_AUTOBOOT);
    return 0;
}
END

linux_program "$dir/program.c"
expect_on_both "somebody waits: yes
process_vm_readv: 1, 'x'
/proc/self/mem: -1, Input/output error"
