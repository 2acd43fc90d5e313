/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lookup.c: asks the broker which other pages have the same content. */
#include "scan/lookup.h"

#include "client/broker-client.h"
#include "memory/ram.h"
#include "memory/region.h"

/* Files the answers to a LOOKUP of `count` items. */
static void file_answers(KsmEngine *engine, const KsmFingerprinted *items,
                         const KsmAnswer *answers, guint32 count)
{
    KsmRegion *region = engine->batch.region;
    guint32 i;

    for (i = 0; i < count; i++) {
        guint32 page = items[i].page;
        KsmMatch match = { .page = page, .slot = answers[i].slot };

        switch ((KsmAnswerKind)answers[i].kind) {
        case KSM_ANSWER_LISTED:
            ksm_ram_set_state(region, page, KSM_PAGE_CANDIDATE);
            region->wait[page] = engine->turn.round;
            break;
        case KSM_ANSWER_SLOT:
            g_array_append_val(engine->batch.matches, match);
            break;
        case KSM_ANSWER_PUBLISH:
            g_array_append_val(engine->batch.publishable, items[i]);
            break;
        case KSM_ANSWER_REFUSED:
        default:
            engine->stats.counters.refused_broker++;
            ksm_ram_back_off(region, page, KSM_PAGE_EXCLUDED);
            break;
        }
    }
}

gboolean ksm_lookup_send(KsmEngine *engine, const KsmFingerprinted *items,
                         guint32 count)
{
    KsmLookup *request = ksm_broker_client_items(&engine->broker);
    const KsmAnswer *answers;
    guint32 replied, i;

    if (!count) {
        return TRUE;
    }
    for (i = 0; i < count; i++) {
        request[i] = (KsmLookup) {
            .fingerprint = items[i].fingerprint,
            .page = ksm_ram_session_page(engine->batch.region, items[i].page),
        };
    }
    if (!ksm_broker_client_call(&engine->broker, KSM_MSG_LOOKUP, count,
                                &replied)) {
        return FALSE;
    }
    engine->stats.counters.lookups += count;
    answers = ksm_broker_client_reply(&engine->broker);
    file_answers(engine, items, answers, replied);
    return TRUE;
}
