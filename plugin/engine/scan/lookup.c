/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lookup.c: asking the broker who else has a content.
 */
#include "scan/lookup.h"

#include <string.h>

#include "client/broker-client.h"
#include "core/regions.h"
#include "memory/ram.h"

/* Files the answers to LOOKUP of `count` items. */
static void file_answers(KsmEngine *engine, const KsmLookup *items,
                         const KsmAnswer *answers, guint32 count)
{
    guint32 i;

    for (i = 0; i < count; i++) {
        KsmRegion *region = ksm_engine_find_region(engine, items[i].page);
        guint32 page = items[i].page - region->base;
        KsmMatch match = { .page = items[i].page, .slot = answers[i].slot };
        KsmPublishable publishable = {
            .page = items[i].page, .fingerprint = items[i].fingerprint,
        };

        switch ((KsmAnswerKind)answers[i].kind) {
        case KSM_ANSWER_LISTED:
            ksm_ram_set_state(region, page, KSM_PAGE_CANDIDATE);
            region->wait[page] = engine->turn.round;
            break;
        case KSM_ANSWER_SLOT:
            g_array_append_val(engine->batch.matches, match);
            break;
        case KSM_ANSWER_PUBLISH:
            g_array_append_val(engine->batch.publishable, publishable);
            break;
        case KSM_ANSWER_REFUSED:
        default:
            engine->figures.counters.refused_broker++;
            ksm_ram_back_off(region, page, KSM_PAGE_EXCLUDED);
            break;
        }
    }
}

gboolean ksm_lookup_send(KsmEngine *engine, const KsmLookup *items,
                         guint32 count)
{
    const KsmAnswer *answers;
    guint32 replied;

    if (!count) {
        return TRUE;
    }
    memcpy(ksm_broker_client_items(&engine->broker), items,
           count * sizeof(KsmLookup));
    if (!ksm_broker_client_call(&engine->broker, KSM_MSG_LOOKUP, count,
                                &replied)) {
        return FALSE;
    }
    engine->figures.counters.lookups += count;
    answers = ksm_broker_client_reply(&engine->broker);
    file_answers(engine, items, answers, replied);
    return TRUE;
}
