/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h: making GErrors of KSM_ERROR.
 */
#ifndef KSM_ERROR_H
#define KSM_ERROR_H

#include "guest-ksm.h"

/* "FORMAT: strerror(-ret)"; ret is a negative errno. */
void ksm_error_set_errno(GError **errp, KsmError code, int ret,
                         const char *format, ...) G_GNUC_PRINTF(4, 5);

#endif /* KSM_ERROR_H */
