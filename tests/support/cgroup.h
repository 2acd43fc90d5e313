/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cgroup.h: a control group with a limit on memory, for the time of a test. */
#ifndef TEST_CGROUP_H
#define TEST_CGROUP_H

#include <glib.h>

typedef struct KsmTestCgroup KsmTestCgroup;

/** Version 2, or 1 where that has the memory controller; else skips or fails. */
KsmTestCgroup *ksm_test_cgroup_new(guint64 limit_bytes);

/** Moves this process into it, for what it starts there, and back. */
void ksm_test_cgroup_enter(KsmTestCgroup *cgroup);
void ksm_test_cgroup_leave(KsmTestCgroup *cgroup);

void ksm_test_cgroup_set_limit(KsmTestCgroup *cgroup, guint64 bytes);

/** Bytes that are charged to it. */
guint64 ksm_test_cgroup_usage(KsmTestCgroup *cgroup);

/** Removes it; all that was in it must have been reaped. */
void ksm_test_cgroup_free(KsmTestCgroup *cgroup);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmTestCgroup, ksm_test_cgroup_free)

#endif /* TEST_CGROUP_H */
