/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * require.h: what a test needs, what happens without it, and waiting.
 *
 * A test always registers.  Without what it needs it skips with the reason;
 * when KSM_TEST_REQUIRE (a comma list: uffd,kvm,qemu,uring,direct,numa,cgroup)
 * names that capability, it fails instead, so that CI cannot lose a test
 * silently.
 */
#ifndef TEST_REQUIRE_H
#define TEST_REQUIRE_H

#include <glib.h>

/** Whether KSM_TEST_REQUIRE names the capability. */
gboolean ksm_test_is_required(const char *capability);

/** Skips the running test, or fails it when the capability is required. */
void ksm_test_lacks(const char *capability, const char *reason);

/** TRUE when userfaultfd and the rest work; else skips or fails. */
gboolean ksm_test_need_uffd(void);

/** TRUE when the kernel has NUMA policies; else skips or fails. */
gboolean ksm_test_need_numa(void);

/** KSM_TEST_SECONDS, or the given number when it is not set. */
double ksm_test_seconds(double otherwise);

/** A condition for ksm_test_wait(). */
typedef gboolean (*KsmTestCondition)(gpointer opaque);

/**
 * Polls the condition every few milliseconds until it holds or the deadline
 * has passed.  Returns the seconds it took, or a negative number.
 */
double ksm_test_wait(KsmTestCondition condition, gpointer opaque,
                     double seconds);

/** Seconds of the monotonic clock. */
double ksm_test_now(void);

#endif /* TEST_REQUIRE_H */
