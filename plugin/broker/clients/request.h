/* SPDX-License-Identifier: GPL-2.0-or-later */
/* request.h: what each message of a client does. */
#ifndef KSM_REQUEST_H
#define KSM_REQUEST_H

#include "clients/connection.h"

/** For ksm_connection_new(). */
extern const KsmConnectionOps ksm_request_ops;

#endif /* KSM_REQUEST_H */
