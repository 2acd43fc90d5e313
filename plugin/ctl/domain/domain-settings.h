/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-settings.h: the properties of a domain's memory-backend-ksm. */
#ifndef KSM_CTL_DOMAIN_SETTINGS_H
#define KSM_CTL_DOMAIN_SETTINGS_H

#include "domain/domain-doc.h"
#include "domain/domain-ksm.h"

#define KSM_DOMAIN_OBJECT(id) "memory-backend-ksm,id=" id

/** Brings the object's properties up to date; FALSE: a setting is wrong. */
gboolean ksm_domain_apply(const KsmDomainSettings *settings, xmlDoc *doc,
                          KsmOpts *opts, GError **errp);

#endif /* KSM_CTL_DOMAIN_SETTINGS_H */
