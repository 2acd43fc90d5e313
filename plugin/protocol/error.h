/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h: creates GErrors of the domain KSM_ERROR, which library and broker
 * share and whose codes are also sent over the wire.
 */
#ifndef KSM_ERROR_H
#define KSM_ERROR_H

#include "guest-ksm.h"

/* "FORMAT: strerror(-ret)"; ret is a negative errno. */
void ksm_error_set_errno(GError **errp, KsmError code, int ret,
                         const char *format, ...) G_GNUC_PRINTF(4, 5);

/* KSM_ERROR_FAILED, "WHAT: strerror(errno)"; returns FALSE. */
gboolean ksm_error_set_failed(GError **errp, const char *what);

#endif /* KSM_ERROR_H */
