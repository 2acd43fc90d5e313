/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page-kind.c: the kinds of guest pages, and how each is drawn. */
#include "map/page-kind.h"

/* Only the eight colours that every terminal has, in its user's shades. */
const KsmPageKind ksm_page_kinds[KSM_KINDS] = {
    [KSM_KIND_UNTOUCHED] = { "untouched", "pages_untouched", '.', 8, 0xe3e3e3 },
    [KSM_KIND_PRIVATE] = { "private", "pages_volatile", 'p', 4, 0x3b6ea8 },
    [KSM_KIND_UNSHARED] = { "unshared", "pages_unshared", 'u', 6, 0x8fc1e3 },
    [KSM_KIND_ZERO] = { "zero", "zero_pages", '0', 3, 0xf0c93a },
    [KSM_KIND_SHARED] = { "shared", "pages_sharing", 's', 2, 0x3f9b45 },
    [KSM_KIND_BROKEN] = { "broken", "pages_broken", 'b', 1, 0xd9413d },
    [KSM_KIND_EXCLUDED] = { "excluded", "pages_excluded", 'x', 5, 0xa35fa0 },
    [KSM_KIND_NO_MEMORY] = { "no memory", NULL, ' ', 8, 0xffffff },
};
