/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker.h: a broker: its start, and what concerns all of it. */
#ifndef KSM_BROKER_H
#define KSM_BROKER_H

#include <glib.h>

#include "clients/state.h"

/**
 * Takes over @listen_fd, and @mark_fd (grace.h; -1: none); @idle is called
 * after @idle_exit_seconds idle.  There is no way to free a broker: its process
 * ends, and the kernel is quicker.
 */
KsmBroker *ksm_broker_new(const KsmBrokerLimits *limits, int listen_fd,
                          int mark_fd,
                          guint idle_exit_seconds,
                          void (*idle)(gpointer opaque), gpointer opaque);

/** The memory at an address has failed: if it is a slot's, it is retired. */
void ksm_broker_memory_failed(KsmBroker *broker, const guint8 *addr);

void ksm_broker_log_status(const KsmBroker *broker);

#endif /* KSM_BROKER_H */
