/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h: making GErrors of KSM_ERROR, the one domain of library and broker,
 * whose codes also go over the wire.
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
