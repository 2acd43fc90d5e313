/* SPDX-License-Identifier: GPL-2.0-or-later */
/* signals.h: signals as events of the main loop, without a thread for them. */
#ifndef KSM_SIGNALS_H
#define KSM_SIGNALS_H

#include <glib.h>

/** Blocks SIGTERM, SIGINT and SIGUSR1, and has them told by @handle. */
gboolean ksm_signals_watch(void (*handle)(int signal, gpointer opaque),
                           gpointer opaque, GError **errp);

#endif /* KSM_SIGNALS_H */
