/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * late-kill.c: preloaded, keeps QEMU from asking for early notification of
 * memory that fails.
 *
 * Without KVM there is no guest CPU to pass that on to, and QEMU exits,
 * whatever the memory's backend.  What is left is what every program gets: a
 * signal when it touches such memory.
 */
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int prctl(int option, ...)
{
    unsigned long words[4];
    va_list list;
    int i;

    va_start(list, option);
    for (i = 0; i < 4; i++) {
        words[i] = va_arg(list, unsigned long);
    }
    va_end(list);
    if (option == PR_MCE_KILL) {
        return 0;
    }
    return (int)syscall(SYS_prctl, option, words[0], words[1], words[2],
                        words[3]);
}
