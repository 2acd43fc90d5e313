/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-error.h: the broker's error domain; its codes are KsmError. */
#ifndef KSM_BROKER_ERROR_H
#define KSM_BROKER_ERROR_H

#include <glib.h>

#include "guest-ksm.h"

#define KSM_BROKER_ERROR (ksm_broker_error_quark())
GQuark ksm_broker_error_quark(void);

#endif /* KSM_BROKER_ERROR_H */
