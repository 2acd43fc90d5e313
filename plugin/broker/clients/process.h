/* SPDX-License-Identifier: GPL-2.0-or-later */
/* process.h: a client's process, known by more than its number. */
#ifndef KSM_PROCESS_H
#define KSM_PROCESS_H

#include <glib.h>

#include "clients/state.h"

/**
 * Who is at the other end of @fd.  Makes a KsmProcess when it is not known
 * yet.  Fails when it has gone, or cannot be told.
 */
KsmProcess *ksm_process_of_peer(KsmBroker *broker, int fd, GError **errp);

/** Frees it if nothing needs to be remembered: no group, no connection. */
void ksm_process_check(KsmProcess *process);

/** The process has ended: begins to take everything back. */
void ksm_process_ended(KsmProcess *process);

#endif /* KSM_PROCESS_H */
