/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check.h: what a host has or lacks for sharing, a line for each. */
#ifndef KSM_CTL_CHECK_H
#define KSM_CTL_CHECK_H

#include "base/client.h"

typedef enum KsmCheckState {
    KSM_CHECK_OK,
    KSM_CHECK_ADVICE, /* it works; this would be better */
    KSM_CHECK_WRONG,  /* nothing is shared like that, or not safely */
} KsmCheckState;

typedef struct KsmCheckLine {
    KsmCheckState state;
    char *what, *text;
} KsmCheckLine;

typedef struct KsmCheck {
    const char *root;      /* before every path of a file; "" */
    const char *user;      /* QEMU's; NULL: who runs this */
    char *found_user;      /* what libvirt says of it */
    gboolean device_given; /* libvirt gives it /dev/userfaultfd */
    const char *uri;       /* libvirt's; NULL: its default */
    const char *broker;    /* the socket for guests */
    GPtrArray *lines;      /* KsmCheckLine */
} KsmCheck;

/** A line: what was looked at, what is so, and what to do. */
void ksm_check_add(KsmCheck *check, KsmCheckState state, const char *what,
                   const char *format, ...) G_GNUC_PRINTF(4, 5);

/** A file below the root, stripped; NULL when it cannot be read; g_free(). */
char *ksm_check_read(const KsmCheck *check, const char *path);

/** "ok", "advice" or "wrong". */
const char *ksm_check_word(KsmCheckState state);

/* The parts, each of which adds lines. */
void ksm_check_host(KsmCheck *check);
void ksm_check_kernel(KsmCheck *check);
/** The kernel's KSM, and what it does to the broker's VMs. */
void ksm_check_kernel_ksm(KsmCheck *check, KsmClient *client);
void ksm_check_broker(KsmCheck *check, KsmClient *client);
/** As QEMU's user has it, in a process of that user. */
void ksm_check_user(KsmCheck *check);
#ifdef KSM_CTL_LIBVIRT
void ksm_check_libvirt(KsmCheck *check);
#endif

#endif /* KSM_CTL_CHECK_H */
