/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poison.c: memory that fails, without hardware that does. */
#include "poison.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "page-content.h"

#ifndef UFFDIO_POISON /* 6.6 */
#define UFFD_FEATURE_POISON (1 << 14)
struct uffdio_poison {
    struct uffdio_range range;
    __u64 mode;
    __s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

static gboolean (*ask_first)(const siginfo_t *info);
static __thread sigjmp_buf *volatile reading;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    if (ask_first(info)) {
        return;
    }
    if (reading) {
        siglongjmp(*reading, 1);
    }
    g_error("SIGBUS at %p, code %d", info->si_addr, info->si_code);
}

void ksm_test_sigbus_install(gboolean (*first)(const siginfo_t *info))
{
    struct sigaction action = { .sa_flags = SA_SIGINFO };

    ask_first = first;
    action.sa_sigaction = on_sigbus;
    g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
}

gboolean ksm_test_reads(const void *page)
{
    sigjmp_buf here;

    if (sigsetjmp(here, 1)) {
        reading = NULL;
        return FALSE;
    }
    reading = &here;
    (void)*(const volatile guint8 *)page;
    reading = NULL;
    return TRUE;
}

int ksm_test_poison_open(void)
{
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = UFFD_FEATURE_POISON,
    };
    int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int fd = dev >= 0 ? ioctl(dev, _IO(0xAA, 0x00), O_CLOEXEC) :
                        (int)syscall(SYS_userfaultfd, O_CLOEXEC);

    if (dev >= 0) {
        close(dev);
    }
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Only what some userfaultfd watches can be poisoned: ours, if no other does. */
void ksm_test_poison(int uffd, void *page)
{
    struct uffdio_range range = { (guintptr)page, KSM_PAGE_BYTES };
    struct uffdio_register reg = {
        .range = range,
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    struct uffdio_poison poison = { .range = range };
    struct uffdio_writeprotect allow = { .range = range };

    g_assert_cmpint(madvise(page, KSM_PAGE_BYTES, MADV_DONTNEED), ==, 0);
    /* In a file's mapping protection outlives the page, and is in the way. */
    ioctl(uffd, UFFDIO_WRITEPROTECT, &allow);
    if (ioctl(uffd, UFFDIO_POISON, &poison) != 0) {
        g_assert_cmpint(ioctl(uffd, UFFDIO_REGISTER, &reg), ==, 0);
        g_assert_cmpint(ioctl(uffd, UFFDIO_POISON, &poison), ==, 0);
        g_assert_cmpint(ioctl(uffd, UFFDIO_UNREGISTER, &range), ==, 0);
    }
}

/* The caller is told by SIGBUS, as if he had read there. */
gboolean ksm_test_fail_memory(void *page)
{
    sigjmp_buf here;
    int ret;

    if (sigsetjmp(here, 1)) {
        reading = NULL;
        return TRUE;
    }
    reading = &here;
    ret = madvise(page, KSM_PAGE_BYTES, MADV_HWPOISON);
    reading = NULL;
    return ret == 0;
}
