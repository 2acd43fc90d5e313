/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process.h: a client's process, identified by more than its pid. */
#ifndef KSM_PROCESS_H
#define KSM_PROCESS_H

#include <glib.h>

#include "clients/state.h"

/**
 * The process at the other end of the socket @fd; creates a KsmProcess if it is
 * not known yet.  Fails if it has exited, or cannot be identified.
 */
KsmProcess *ksm_process_of_peer(KsmBroker *broker, int fd, GError **errp);

/** Frees @process if it has no group and no connection. */
void ksm_process_check(KsmProcess *process);

/** The process has exited: starts to take back everything it had. */
void ksm_process_ended(KsmProcess *process);

#endif /* KSM_PROCESS_H */
