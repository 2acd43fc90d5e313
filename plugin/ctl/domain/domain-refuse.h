/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-refuse.h: what a domain asks for that sharing cannot go with. */
#ifndef KSM_CTL_DOMAIN_REFUSE_H
#define KSM_CTL_DOMAIN_REFUSE_H

#include "domain/domain-doc.h"

/** FALSE: @errp says what is in the way, and what can be done. */
gboolean ksm_domain_refuse(xmlDoc *doc, GError **errp);

#endif /* KSM_CTL_DOMAIN_REFUSE_H */
