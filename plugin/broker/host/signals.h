/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals.h: signals as main loop events, without an extra thread. */
#ifndef KSM_SIGNALS_H
#define KSM_SIGNALS_H

#include <glib.h>

/** Blocks SIGTERM, SIGINT and SIGUSR1; they stay pending until watched. */
void ksm_signals_hold(void);

/** Passes them to @handle, in the main loop; call ksm_signals_hold() first. */
gboolean ksm_signals_watch(void (*handle)(int signal, gpointer opaque),
                           gpointer opaque, GError **errp);

#endif /* KSM_SIGNALS_H */
