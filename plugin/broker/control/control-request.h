/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-request.h: handles each request of the control socket. */
#ifndef KSM_CONTROL_REQUEST_H
#define KSM_CONTROL_REQUEST_H

#include "control/control-client.h"

/** Carries out a request and replies; @line is NUL-terminated. */
void ksm_control_request(KsmControlClient *client, const char *line,
                         gsize bytes);

#endif /* KSM_CONTROL_REQUEST_H */
