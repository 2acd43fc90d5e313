/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-kind.h: the kinds of guest pages, and how each is drawn. */
#ifndef KSM_CTL_PAGE_KIND_H
#define KSM_CTL_PAGE_KIND_H

#include <glib.h>

/** As in the cells of the request `map` (docs/control-protocol.md). */
typedef enum KsmPageKindId {
    KSM_KIND_UNTOUCHED,
    KSM_KIND_PRIVATE,
    KSM_KIND_UNSHARED,
    KSM_KIND_ZERO,
    KSM_KIND_SHARED,
    KSM_KIND_BROKEN,
    KSM_KIND_EXCLUDED,
    KSM_KIND_NO_MEMORY,
    KSM_KINDS,
} KsmPageKindId;

typedef struct KsmPageKind {
    const char *name;  /* one word */
    const char *field; /* of a session that counts them; or NULL */
    char letter;       /* where there is no colour */
    guint8 colour;     /* of a terminal's eight; 8: bright black */
    guint32 rgb;       /* in pictures */
} KsmPageKind;

extern const KsmPageKind ksm_page_kinds[KSM_KINDS];

#endif /* KSM_CTL_PAGE_KIND_H */
