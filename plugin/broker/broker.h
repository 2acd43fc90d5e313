/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker.h: creates a broker, and the functions that concern all of it. */
#ifndef KSM_BROKER_H
#define KSM_BROKER_H

#include <glib.h>

#include "clients/state.h"

/**
 * Creates a broker.  Takes over @listen_fd and @mark_fd (grace.h; -1: none).
 * Calls @idle after @idle_exit_seconds without clients (0: never).  A broker
 * cannot be freed: the process exits, and the kernel frees it faster.
 */
KsmBroker *ksm_broker_new(const KsmBrokerLimits *limits, int listen_fd,
                          int mark_fd, guint idle_exit_seconds,
                          void (*idle)(gpointer opaque), gpointer opaque);

/** The memory at @addr has failed; if it is a slot's, retires the slot. */
void ksm_broker_memory_failed(KsmBroker *broker, const guint8 *addr);

/** Logs the state of the broker and of its groups (SIGUSR1). */
void ksm_broker_log_status(const KsmBroker *broker);

#endif /* KSM_BROKER_H */
