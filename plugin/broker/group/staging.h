/* SPDX-License-Identifier: GPL-2.0-or-later */
/* staging.h: pages on their way from a client into the store. */
#ifndef KSM_STAGING_H
#define KSM_STAGING_H

#include <glib.h>

#include "store/store.h"

#define KSM_STAGING_CONTENTS 16u
#define KSM_STAGING_SLOTS 512u /* tiles take several; below IOV_MAX */

/**
 * Start with .contents and .slots zero; .pages need not be cleared.  The slots
 * of successive contents are contiguous.
 */
typedef struct KsmStaging {
    guint contents; /* contents that have slots */
    guint32 slots;  /* of all contents together */
    guint32 heads[KSM_STAGING_CONTENTS];
    guint8 orders[KSM_STAGING_CONTENTS];
    /* private copies; the next content goes into the first free one */
    guint8 pages[KSM_STAGING_CONTENTS][KSM_STORE_PAGE_BYTES]
        __attribute__((aligned(64)));
} KsmStaging;

/** The page where the caller puts the next content. */
guint8 *ksm_staging_next(KsmStaging *staging);

/** Whether the slots at @head can join the staged ones. */
gboolean ksm_staging_has_room(const KsmStaging *staging, guint32 head,
                              guint8 order);

/** Assigns the slots at @head to the content in ksm_staging_next(). */
void ksm_staging_add(KsmStaging *staging, guint32 head, guint8 order);

/** The content staged for slot @head; NULL if there is none. */
const guint8 *ksm_staging_find(const KsmStaging *staging, guint32 head);

/**
 * Writes all staged contents into the store, and empties the staging area.
 * Returns how many consecutive slots were written.  Stores the first slot in
 * @first and the number of staged slots in @wanted.
 */
guint32 ksm_staging_write(KsmStaging *staging, KsmStore *store, guint32 *first,
                          guint32 *wanted);

#endif /* KSM_STAGING_H */
