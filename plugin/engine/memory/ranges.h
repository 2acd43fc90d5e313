/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ranges.h: arrays of KsmRange.
 */
#ifndef KSM_RANGES_H
#define KSM_RANGES_H

#include <glib.h>

/* Appends a page to an array of ranges, extending the last one if adjacent. */
void ksm_ranges_add(GArray *ranges, guint32 page);

#endif /* KSM_RANGES_H */
