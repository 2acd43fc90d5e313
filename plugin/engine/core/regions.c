/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * regions.c: the engine's regions, by page.
 */
#include "core/regions.h"

KsmRegion *ksm_engine_find_region(KsmEngine *engine, guint32 page)
{
    guint i;

    for (i = 0; i < engine->ram.regions->len; i++) {
        KsmRegion *region = g_ptr_array_index(engine->ram.regions, i);

        if (page - region->base < region->pages) {
            return region;
        }
    }
    return NULL;
}
