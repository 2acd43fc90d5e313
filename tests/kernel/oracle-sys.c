/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle-sys.c: system calls of the engine that are delayed, or fail, at
 * random.
 *
 * What the engine must survive happens in gaps of microseconds: a write
 * between the last check of a page and its isolation, a fault just before a
 * registration is removed.  A pause before any call makes such a gap a
 * hundred times wider.  A failing call does nothing and answers ENOMEM or
 * EAGAIN, as a kernel short of memory may.
 */
#include "oracle.h"

#include <errno.h>

#include "host-sys.h"

#define PAUSE_ONE_IN 6
#define PAUSE_MAX_US 500
#define FAIL_ONE_IN 300

static gboolean dawdles, fails;
static guint64 *disturbed; /* how often, for the parent */

static guint64 draw(guint64 limit)
{
    static __thread guint64 state;

    if (!state) {
        state = (guint64)g_get_monotonic_time() ^ (guint64)(gsize)&state;
    }
    return ksm_test_below(&state, limit);
}

static void dawdle(void)
{
    if (dawdles && draw(PAUSE_ONE_IN) == 0) {
        oracle_count(disturbed, 1);
        g_usleep((gulong)draw(PAUSE_MAX_US));
    }
}

/* 0, or what the call answers instead of being made. */
static int disturb(void)
{
    dawdle();
    if (fails && draw(FAIL_ONE_IN) == 0) {
        oracle_count(disturbed, 1);
        return draw(2) ? -ENOMEM : -EAGAIN;
    }
    return 0;
}

static int odd_register(int fd, void *addr, size_t bytes, uint64_t mode)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.uffd_register(fd, addr, bytes, mode);
}

static int odd_unregister(int fd, void *addr, size_t bytes)
{
    dawdle(); /* of a whole mapping, it cannot fail */
    return ksm_sys_linux.uffd_unregister(fd, addr, bytes);
}

static int odd_protect(int fd, void *addr, size_t bytes, bool protect)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.uffd_protect(fd, addr, bytes, protect);
}

/* Moves part of it only, now and then. */
static int odd_move(int fd, void *dst, void *src, size_t bytes, size_t *moved)
{
    int ret = disturb();
    size_t some = bytes;

    *moved = 0;
    if (ret) {
        return ret;
    }
    if (fails && bytes > KSM_PAGE_BYTES && draw(20) == 0) {
        some = (size_t)draw(bytes / KSM_PAGE_BYTES) * KSM_PAGE_BYTES;
    }
    if (some) {
        ret = ksm_sys_linux.uffd_move(fd, dst, src, some, moved);
    }
    return ret || some == bytes ? ret : -EAGAIN;
}

static int odd_wake(int fd, void *addr, size_t bytes)
{
    dawdle();
    return ksm_sys_linux.uffd_wake(fd, addr, bytes);
}

static int odd_scan(int fd, struct pm_scan_arg *arg)
{
    int ret = disturb();

    return ret ? ret : ksm_test_host_sys()->pagemap_scan(fd, arg);
}

static int odd_read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.read_at(fd, to, bytes, offset);
}

static int odd_copy_self(void *to, const void *from, size_t bytes)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.copy_self(to, from, bytes);
}

static int odd_map(void *addr, size_t bytes, int prot, int flags, int fd,
                   uint64_t offset, void **mapped)
{
    int ret = disturb();

    return ret ?
               ret :
               ksm_sys_linux.map(addr, bytes, prot, flags, fd, offset, mapped);
}

static int odd_remap(void *src, size_t bytes, void *dst)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.remap_onto(src, bytes, dst);
}

static int odd_advise(void *addr, size_t bytes, int advice)
{
    int ret = disturb();

    return ret ? ret : ksm_sys_linux.advise(addr, bytes, advice);
}

void oracle_sys_install(Oracle *oracle)
{
    static KsmSys odd;
    guint features = oracle->config->features;

    if (!(features & (ORACLE_DAWDLE | ORACLE_FAIL))) {
        return;
    }
    odd = ksm_sys_linux;
    odd.uffd_register = odd_register;
    odd.uffd_unregister = odd_unregister;
    odd.uffd_protect = odd_protect;
    odd.uffd_move = odd_move;
    odd.uffd_wake = odd_wake;
    odd.pagemap_scan = odd_scan;
    odd.read_at = odd_read_at;
    odd.copy_self = odd_copy_self;
    odd.map = odd_map;
    odd.remap_onto = odd_remap;
    odd.advise = odd_advise;
    disturbed = &oracle->figures->disturbed;
    dawdles = (features & ORACLE_DAWDLE) != 0;
    fails = (features & ORACLE_FAIL) != 0;
    ksm_sys = &odd;
}

/** Real calls again: an end that fails for want of memory proves nothing. */
void oracle_sys_restore(void)
{
    dawdles = fails = FALSE;
}
