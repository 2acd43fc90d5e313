/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* error.c: the error domain, and errors from system calls. */
#include "error.h"

#include <errno.h>

GQuark ksm_error_quark(void)
{
    return g_quark_from_static_string("guest-ksm-error");
}

void ksm_error_set_errno(GError **errp, KsmError code, int ret,
                         const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, format);
    text = g_strdup_vprintf(format, ap);
    va_end(ap);
    g_set_error(errp, KSM_ERROR, code, "%s: %s", text, g_strerror(-ret));
}

gboolean ksm_error_set_failed(GError **errp, const char *what)
{
    ksm_error_set_errno(errp, KSM_ERROR_FAILED, -errno, "%s", what);
    return FALSE;
}
