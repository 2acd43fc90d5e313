/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagemap.h: PAGEMAP_SCAN, of include/uapi/linux/fs.h, for older headers; and
 * what a finding needs to ask it about userfaultfd's write tracking.
 */
#ifndef FINDINGS_PAGEMAP_H
#define FINDINGS_PAGEMAP_H

#include <errno.h>
#include <linux/types.h>
#include <sys/ioctl.h>

#define PAGE 4096ul
#define WPALLOWED 1ul
#define WRITTEN 2ul
#define WP_MATCHING 1ul                      /* flag: arms what it returns */
#define FEATURES ((1ul << 13) | (1ul << 15)) /* WP_UNPOPULATED, WP_ASYNC */

#define PAGEMAP_MAX 16

struct region {
    __u64 start, end, categories;
};

struct scan {
    __u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
    __u64 inverted, mask, anyof, returned;
};

#define SCAN _IOWR('f', 16, struct scan)

/* How many of `count` pages (at most PAGEMAP_MAX) are all that; or -errno. */
static long pagemap_count(int fd, const char *area, unsigned long count,
                          __u64 mask, __u64 flags)
{
    struct region found[PAGEMAP_MAX];
    struct scan scan = {
        .size = sizeof(scan),
        .flags = flags,
        .start = (__u64)area,
        .end = (__u64)area + count * PAGE,
        .vec = (__u64)found,
        .vec_len = PAGEMAP_MAX,
        .mask = mask,
        .returned = mask,
    };
    int i, n = ioctl(fd, SCAN, &scan);
    long sum = n < 0 ? -errno : 0;

    for (i = 0; i < n; i++) {
        sum += (long)((found[i].end - found[i].start) / PAGE);
    }
    return sum;
}

#endif /* FINDINGS_PAGEMAP_H */
