/* SPDX-License-Identifier: GPL-2.0-or-later */
/* top-screen.h: the terminal that `top` draws on. */
#ifndef KSM_CTL_TOP_SCREEN_H
#define KSM_CTL_TOP_SCREEN_H

#include "top/top-model.h"

/**
 * Takes the terminal.  It is given back as it was by ksm_screen_close(), by
 * exit(), and by every signal that ends the program but SIGKILL.
 */
gboolean ksm_screen_open(GError **errp);
void ksm_screen_close(void);

/** Draws it all; @first: the first row shown, moved to where there is one. */
void ksm_screen_draw(const KsmTop *top, guint *first);

/** Rows of VMs that fit. */
guint ksm_screen_rows(void);

typedef enum KsmScreenKey {
    KSM_SCREEN_NOTHING, /* the time is over */
    KSM_SCREEN_LETTER,  /* in *letter */
    KSM_SCREEN_UP,
    KSM_SCREEN_DOWN,
    KSM_SCREEN_PAGE_UP,
    KSM_SCREEN_PAGE_DOWN,
    KSM_SCREEN_HOME,
    KSM_SCREEN_LEFT,
    KSM_SCREEN_RIGHT,
    KSM_SCREEN_RESIZED,
    KSM_SCREEN_GONE,
} KsmScreenKey;

/** Waits for a key, up to this time. */
KsmScreenKey ksm_screen_key(int timeout_ms, char *letter);

#endif /* KSM_CTL_TOP_SCREEN_H */
