/* SPDX-License-Identifier: GPL-2.0-or-later */
/* error.h: errors of guest-ksmctl; their codes are its exit statuses. */
#ifndef KSM_CTL_ERROR_H
#define KSM_CTL_ERROR_H

#include <glib.h>

/** Exit statuses, in the manual page; stable. */
typedef enum KsmCtlStatus {
    KSM_CTL_OK = 0,
    KSM_CTL_FAILED = 1,     /* it was understood, and went wrong */
    KSM_CTL_USAGE = 2,      /* the command line is wrong */
    KSM_CTL_NO_BROKER = 3,  /* no broker listens on the socket */
    KSM_CTL_PERMISSION = 4, /* not allowed to */
    KSM_CTL_NO_SUCH = 5,    /* no such VM, group or domain */
    KSM_CTL_PENDING = 6,    /* sent, but a VM has not confirmed it */
} KsmCtlStatus;

/** Domain of all errors here; code is a KsmCtlStatus. */
#define KSM_CTL_ERROR (ksm_ctl_error_quark())
GQuark ksm_ctl_error_quark(void);

#endif /* KSM_CTL_ERROR_H */
