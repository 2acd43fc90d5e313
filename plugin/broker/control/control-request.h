/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-request.h: what each request of the control socket does. */
#ifndef KSM_CONTROL_REQUEST_H
#define KSM_CONTROL_REQUEST_H

#include "control/control-client.h"

/** Carries a request out; @line is terminated. */
void ksm_control_request(KsmControlClient *client, const char *line,
                         gsize bytes);

#endif /* KSM_CONTROL_REQUEST_H */
