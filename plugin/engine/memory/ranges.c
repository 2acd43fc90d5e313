/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ranges.c: arrays of KsmRange.
 */
#include "memory/ranges.h"

#include "ksm-protocol.h"

void ksm_ranges_add(GArray *ranges, guint32 page)
{
    KsmRange one = { .first = page, .count = 1 };

    if (ranges->len) {
        KsmRange *last = &g_array_index(ranges, KsmRange, ranges->len - 1);

        if (last->first + last->count == page) {
            last->count++;
            return;
        }
    }
    g_array_append_val(ranges, one);
}
