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

#include "pagemap.h"

static int pagemap;

static void say(const char *what, char *area)
{
    printf("said: %s: written %ld, of these tracked %ld\n", what,
           pagemap_count(pagemap, area, 4, WRITTEN, 0),
           pagemap_count(pagemap, area, 4, WRITTEN | WPALLOWED, 0));
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
linux_6_12
expect 6.12.95 "not registered: written 4, of these tracked 0
registered: written 4, of these tracked 2"
linux_7_3
expect 7.3.4 "not registered: written 0, of these tracked 0
registered: written 4, of these tracked 4"
