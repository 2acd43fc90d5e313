/* SPDX-License-Identifier: GPL-2.0-or-later */
/* broker-error.c: the broker's error domain; its codes are KsmError. */
#include "broker-error.h"

G_DEFINE_QUARK(ksm-broker-error-quark, ksm_broker_error)
