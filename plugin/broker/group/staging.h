/* SPDX-License-Identifier: GPL-2.0-or-later */
/* staging.h: contents on their way from a client into the store. */
#ifndef KSM_STAGING_H
#define KSM_STAGING_H

#include <glib.h>

#include "store/store.h"

#define KSM_STAGING_CONTENTS 16u
#define KSM_STAGING_SLOTS 512u  /* tiles take several; below IOV_MAX */

/**
 * Zero .counts to begin with; the pages need not be.  Slots of contents that
 * follow each other follow each other.
 */
typedef struct KsmStaging {
    guint contents;             /* that have slots */
    guint32 slots;              /* of all of them */
    guint32 heads[KSM_STAGING_CONTENTS];
    guint8 orders[KSM_STAGING_CONTENTS];
    /* private copies; the next content is made in the first one free */
    guint8 pages[KSM_STAGING_CONTENTS][KSM_STORE_PAGE_BYTES]
        __attribute__((aligned(64)));
} KsmStaging;

/** Where the next content is to be put. */
guint8 *ksm_staging_next(KsmStaging *staging);

/** Whether slots at @head can join those that wait. */
gboolean ksm_staging_has_room(const KsmStaging *staging, guint32 head,
                              guint8 order);

/** The content made last is to fill the slots at @head. */
void ksm_staging_add(KsmStaging *staging, guint32 head, guint8 order);

/** The content that waits for slot @head; NULL when none does. */
const guint8 *ksm_staging_find(const KsmStaging *staging, guint32 head);

/**
 * Writes all that waits into the store, and is empty again.  Returns how many
 * slots in a row have got their content; the first one goes to @first, the
 * number that wanted one to @wanted.
 */
guint32 ksm_staging_write(KsmStaging *staging, KsmStore *store,
                          guint32 *first, guint32 *wanted);

#endif /* KSM_STAGING_H */
