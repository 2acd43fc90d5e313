/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* releases.c: pages to report to the broker, by session page. */
#include "core/releases.h"

#include "memory/ranges.h"
#include "memory/region.h"

void ksm_releases_add(KsmEngine *engine, const KsmRegion *region, guint32 page)
{
    ksm_ranges_add(engine->releases.released,
                   ksm_ram_session_page(region, page));
}

void ksm_releases_withdraw(KsmEngine *engine, const KsmRegion *region,
                           guint32 page)
{
    ksm_ranges_add(engine->releases.withdrawn,
                   ksm_ram_session_page(region, page));
}
