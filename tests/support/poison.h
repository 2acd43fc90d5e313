/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * poison.h: memory that fails, without hardware that does.
 *
 * UFFDIO_POISON (Linux 6.6) puts into a page table what the kernel puts there
 * when memory fails, or cannot be read back from swap: each access answers
 * SIGBUS, moving it fails.  Where the kernel is built without
 * CONFIG_MEMORY_FAILURE the signal says BUS_ADRERR instead of BUS_MCEERR_AR.
 */
#ifndef TEST_POISON_H
#define TEST_POISON_H

#include <glib.h>
#include <signal.h>

/**
 * Installs the handler of SIGBUS that a program has: `first` is asked first (as
 * ksm_handle_sigbus), then a ksm_test_reads() under way; else the test ends.
 */
void ksm_test_sigbus_install(gboolean (*first)(const siginfo_t *info));

/** Whether the first byte at the address can be read. */
gboolean ksm_test_reads(const void *page);

/** A userfaultfd for it; -1: this kernel cannot do it. */
int ksm_test_poison_open(void);

/** Has the page fail from now on.  Its content is gone. */
void ksm_test_poison(int uffd, void *page);

/**
 * Has the very page of memory fail, for all who map it, and for ever: as root,
 * on a host that is thrown away.  FALSE: this kernel cannot do it.
 */
gboolean ksm_test_fail_memory(void *page);

#endif /* TEST_POISON_H */
