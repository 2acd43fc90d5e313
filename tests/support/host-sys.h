/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * host-sys.h: the system calls of the host that a test runs on, for programs
 * that have the engine's private parts: the real ones, or those of a host
 * without a zero page (zero-page.h).  The engine has them from the start.
 */
#ifndef TEST_HOST_SYS_H
#define TEST_HOST_SYS_H

#include "sys.h"

const KsmSys *ksm_test_host_sys(void);

#endif /* TEST_HOST_SYS_H */
