/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zero-page.h: what it costs to read memory that nobody has written.
 *
 * Most kernels map one shared page of zeros for that.  Some give a page of its
 * own (s390x to a KVM guest; any, where a huge page is given at once).  With
 * KSM_TEST_NO_ZERO_PAGE=1 in the environment this host passes for one of those
 * (host-sys.c), so that each test can be run on both kinds.
 */
#ifndef TEST_ZERO_PAGE_H
#define TEST_ZERO_PAGE_H

#include <glib.h>

/** KiB that reading @bytes of untouched memory takes, by what smaps tells. */
guint64 ksm_test_read_cost_kib(gsize bytes);

/** Whether it costs nothing to read one page. */
gboolean ksm_test_has_zero_page(void);

/** Whether the environment asks for a host without a zero page. */
gboolean ksm_test_zero_page_is_denied(void);

/**
 * Where it does: whatever of the range the kernel's zero page serves gets pages
 * of its own, as if it had been read on such a host.  To be called before
 * anybody looks at how the range is mapped.
 */
void ksm_test_zero_page_deny(const void *addr, guint64 bytes);

#endif /* TEST_ZERO_PAGE_H */
