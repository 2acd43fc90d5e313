/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals.h: signals as events of the main loop, without a thread for them. */
#ifndef KSM_SIGNALS_H
#define KSM_SIGNALS_H

#include <glib.h>

/** Blocks SIGTERM, SIGINT and SIGUSR1 until they are watched. */
void ksm_signals_hold(void);

/** Has them told by @handle, in the main loop; they are held already. */
gboolean ksm_signals_watch(void (*handle)(int signal, gpointer opaque),
                           gpointer opaque, GError **errp);

#endif /* KSM_SIGNALS_H */
