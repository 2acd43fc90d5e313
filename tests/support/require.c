/* SPDX-License-Identifier: GPL-2.0-or-later */
/* require.c: what a test needs, what happens without it, and waiting. */
#include "require.h"

#include <errno.h>
#include <guest-ksm.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

gboolean ksm_test_is_required(const char *capability)
{
    const char *list = g_getenv("KSM_TEST_REQUIRE");
    g_auto(GStrv) names = NULL;

    if (!list) {
        return FALSE;
    }
    names = g_strsplit(list, ",", -1);
    return g_strv_contains((const char *const *)names, capability);
}

void ksm_test_lacks(const char *capability, const char *reason)
{
    g_autofree char *text = NULL;

    text = g_strdup_printf("no %s: %s", capability, reason);
    if (ksm_test_is_required(capability)) {
        g_test_message("%s (KSM_TEST_REQUIRE asks for it)", text);
        g_test_fail();
    } else {
        g_test_skip(text);
    }
}

gboolean ksm_test_need_uffd(void)
{
    g_autoptr(GError) error = NULL;

    if (ksm_check_requirements(&error)) {
        return TRUE;
    }
    ksm_test_lacks("uffd", error->message);
    return FALSE;
}

gboolean ksm_test_need_numa(void)
{
    unsigned long node = 1;
    void *page = mmap(NULL, KSM_PAGE_BYTES, PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long ret = syscall(SYS_mbind, page, KSM_PAGE_BYTES, MPOL_BIND, &node, 64ul,
                       0);

    if (ret != 0) {
        ksm_test_lacks("numa", g_strerror(errno));
    }
    munmap(page, KSM_PAGE_BYTES);
    return ret == 0;
}

double ksm_test_seconds(double otherwise)
{
    const char *text = g_getenv("KSM_TEST_SECONDS");
    double seconds = text ? g_ascii_strtod(text, NULL) : 0;

    return seconds > 0 ? seconds : otherwise;
}

double ksm_test_now(void)
{
    return (double)g_get_monotonic_time() / 1e6;
}

double ksm_test_wait(KsmTestCondition condition, gpointer opaque,
                     double seconds)
{
    double start = ksm_test_now();

    while (!condition(opaque)) {
        if (ksm_test_now() - start > seconds) {
            return -1;
        }
        g_usleep(5000);
    }
    return ksm_test_now() - start;
}
