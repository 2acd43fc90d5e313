/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-ksm.h: memory-backend-ksm in a domain's XML, by <qemu:commandline>.
 *
 * Text in, text out; nothing here speaks with libvirt.
 */
#ifndef KSM_CTL_DOMAIN_KSM_H
#define KSM_CTL_DOMAIN_KSM_H

#include "domain/domain-opts.h"
#include "domain/domain-settings.h"

/** libvirt from this version on never says what QEMU 10 does not know. */
#define KSM_DOMAIN_LIBVIRT_FLOOR 9002000

/** What a domain has. */
typedef struct KsmDomainState {
    gboolean enabled;
    KsmOpts *backend;      /* the object's, or NULL */
    char *emulator;        /* what is in use */
    char *emulator_before; /* what disabling puts back, or NULL */
} KsmDomainState;

/**
 * The XML with sharing on, g_free(); the same again for what it returned.
 * NULL: @errp says what is wrong with the settings or in the way.
 */
char *ksm_domain_enable(const char *xml, const KsmDomainSettings *settings,
                        GError **errp);

/** The XML without it; NULL: it is not the XML of a domain. */
char *ksm_domain_disable(const char *xml, GError **errp);

/** The same XML, as the two above write it: to compare with. */
char *ksm_domain_rewrite(const char *xml, GError **errp);

/** NULL: it is not the XML of a domain. */
KsmDomainState *ksm_domain_inspect(const char *xml, GError **errp);
void ksm_domain_state_free(KsmDomainState *state);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmDomainState, ksm_domain_state_free)

#endif /* KSM_CTL_DOMAIN_KSM_H */
