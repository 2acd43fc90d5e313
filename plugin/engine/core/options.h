/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* options.h: validation of an engine's options. */
#ifndef KSM_OPTIONS_H
#define KSM_OPTIONS_H

#include "core/engine-private.h"

/* Whether every option is within what guest-ksm.h allows; else sets *errp. */
gboolean ksm_options_check(const KsmOptions *options, GError **errp);

/* The default of scan_interval_ms, which due.c may stretch. */
#define KSM_SCAN_INTERVAL_MS 1000u

#endif /* KSM_OPTIONS_H */
