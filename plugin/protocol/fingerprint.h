/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fingerprint.h: fingerprints of page content. */
#ifndef KSM_FINGERPRINT_H
#define KSM_FINGERPRINT_H

#include "guest-ksm.h"
#include "ksm-protocol.h"

/*
 * XXH3-128 of a page of 4096 bytes.  If the page changes meanwhile, the
 * fingerprint is torn.
 */
KsmFingerprint ksm_fingerprint_page(const guint8 *page);

/* The fingerprint of a page of zeros. */
KsmFingerprint ksm_fingerprint_zeros(void);

/* Whether all 4096 bytes are zero. */
gboolean ksm_fingerprint_is_zero(const guint8 *page);

#endif /* KSM_FINGERPRINT_H */
