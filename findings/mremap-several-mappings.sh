#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# mremap-several-mappings: a source of two mappings, to a fixed place.
#
# Software: Linux 6.12.95 and 7.3.4, Debian's builds, x86-64.
# Behaviour: mremap(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) of a range
#   that is two mappings (their flags differ) fails with EFAULT on 6.12, when the
#   destination is already unmapped and the source untouched.  On 7.3 it
#   succeeds: each of the mappings is moved in turn, so it is no longer one step.
# Seen: the two outputs below.
# Matters for: plugin/sys/sys.c (sys_remap_onto), which counts on one step, and
#   therefore refuses such a source by itself.

# shellcheck source=findings/lib/linux.sh
. "$(dirname "$0")/lib/linux.sh"

cat >"$dir/program.c" <<'END'
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#define PAGE 4096ul

/* Whether anything is mapped at a page: advice that changes nothing. */
static const char *is(char *page)
{
    return madvise(page, PAGE, MADV_NORMAL) ? "gone" : "there";
}

int main(void)
{
    char *area = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *from = area, *to = area + 8 * PAGE;
    void *moved;

    memset(area, 'd', 16 * PAGE);
    memset(from, 's', 2 * PAGE);
    madvise(from + PAGE, PAGE, MADV_DONTDUMP);
    moved = mremap(from, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED |
                   MREMAP_DONTUNMAP, to);
    printf("said: mremap: %s\n", moved == to ? "done" : strerror(errno));
    printf("said: source: %s, destination: %s\n",
           from[0] == 's' && from[PAGE] == 's' ? "as it was" : "empty",
           is(to));
    fflush(stdout);
    reboot(RB_AUTOBOOT);
    return 0;
}
END

linux_program "$dir/program.c"
linux_6_12
expect 6.12.95 "mremap: Bad address
source: as it was, destination: gone"
linux_7_3
expect 7.3.4 "mremap: done
source: empty, destination: there"
