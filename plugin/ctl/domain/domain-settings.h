/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-settings.h: the properties of a domain's memory-backend-ksm. */
#ifndef KSM_CTL_DOMAIN_SETTINGS_H
#define KSM_CTL_DOMAIN_SETTINGS_H

#include "domain/domain-doc.h"
#include "domain/domain-opts.h"

#define KSM_DOMAIN_OBJECT(id) "memory-backend-ksm,id=" id

/** What to enable; NULL: as it is already, else the default. */
typedef struct KsmDomainSettings {
    const char *group;
    const char *broker;
    const char *default_broker; /* when none is given, nor there */
    const char *emulator;
    char **properties;      /* further "key=value"; ends with NULL */
    gulong libvirt_version; /* as virConnectGetLibVersion() */
} KsmDomainSettings;

/** Brings the object's properties up to date; FALSE: a setting is wrong. */
gboolean ksm_domain_apply(const KsmDomainSettings *settings, xmlDoc *doc,
                          KsmOpts *opts, GError **errp);

#endif /* KSM_CTL_DOMAIN_SETTINGS_H */
