#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# written-without-tracking: what PAGEMAP_SCAN says of memory nobody tracks.
#
# Software: Linux 6.12.95 and 7.3.4, Debian's builds, x86-64.
# Behaviour: of four pages, two are touched.  Asked for PAGE_IS_WRITTEN in memory
#   that is not registered for write-protect, 6.12.95 returns all four, as what
#   was never protected counts as written.  7.3 returns none.  So a range that has
#   lost its registration turns from "all written" to "nothing written".  Asked
#   for PAGE_IS_WPALLOWED as well, both return none.  In registered memory 6.12.95
#   then returns the two that are there, and 7.3 the holes, too.
# Seen: the two outputs below.
# Matters for: plugin/engine/memory/tracker.c, which asks for PAGE_IS_WPALLOWED
#   and PAGE_IS_PRESENT as well.

# shellcheck source=findings/lib/linux.sh
. "$(dirname "$0")/lib/linux.sh"

cat >"$dir/program.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of include/uapi/linux/fs.h and userfaultfd.h, for older headers. */
#define PAGE 4096ul
#define WPALLOWED 1ul
#define WRITTEN 2ul
#define FEATURES ((1ul << 13) | (1ul << 15))    /* WP_UNPOPULATED, WP_ASYNC */

struct region { __u64 start, end, categories; };
struct scan {
    __u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
    __u64 inverted, mask, anyof, returned;
};
#define SCAN _IOWR('f', 16, struct scan)

static int pagemap;

static long pages(char *area, __u64 mask)
{
    struct region found[4];
    struct scan scan = {
        .size = sizeof(scan), .start = (__u64)area,
        .end = (__u64)area + 4 * PAGE, .vec = (__u64)found, .vec_len = 4,
        .mask = mask, .returned = mask,
    };
    int i, n = ioctl(pagemap, SCAN, &scan);
    long sum = n < 0 ? -errno : 0;

    for (i = 0; i < n; i++) {
        sum += (long)((found[i].end - found[i].start) / PAGE);
    }
    return sum;
}

static void say(const char *what, char *area)
{
    printf("said: %s: written %ld, of these tracked %ld\n", what,
           pages(area, WRITTEN), pages(area, WRITTEN | WPALLOWED));
}

int main(void)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURES };
    struct uffdio_register range = { .range = { .len = 4 * PAGE },
        .mode = UFFDIO_REGISTER_MODE_WP };
    char *area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    pagemap = open("/proc/self/pagemap", O_RDONLY);
    area[0] = area[PAGE] = 1;
    say("not registered", area);
    range.range.start = (unsigned long)area;
    if (ioctl(uffd, UFFDIO_API, &api) ||
        ioctl(uffd, UFFDIO_REGISTER, &range)) {
        printf("said: not to be registered: %s\n", strerror(errno));
    }
    say("registered", area);
    fflush(stdout);
    reboot(RB_AUTOBOOT);
    return 0;
}
END

linux_program "$dir/program.c"
linux_fetch bookworm-backports \
    linux-image-6.12.95+deb12-cloud-amd64-unsigned 6.12.95-1~bpo12+1
expect 6.12.95 "not registered: written 4, of these tracked 0
registered: written 4, of these tracked 2"
linux_fetch trixie-backports linux-binary-7.3.4+deb13-cloud-amd64 \
    7.3.4-1~bpo13+1
expect 7.3.4 "not registered: written 0, of these tracked 0
registered: written 4, of these tracked 4"
