/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-target.h: VMs named as libvirt names them, by --domain. */
#ifndef KSM_CTL_DOMAIN_TARGET_H
#define KSM_CTL_DOMAIN_TARGET_H

#include "base/command.h"

/** Values of the options of KSM_DOMAIN_TARGET_ENTRIES; to be freed. */
extern char *ksm_domain_target_name, *ksm_domain_target_uri;

#ifdef KSM_CTL_LIBVIRT
/** For a command's own options, before its last one. */
#define KSM_DOMAIN_TARGET_ENTRIES \
    { "domain", \
      'd', \
      0, \
      G_OPTION_ARG_STRING, \
      &ksm_domain_target_name, \
      "Only this domain of libvirt: its name, UUID or id", \
      "DOMAIN" }, \
        { "connect", \
          'c', \
          0, \
          G_OPTION_ARG_STRING, \
          &ksm_domain_target_uri, \
          "libvirt's connection, for --domain (libvirt's default)", \
          "URI" },
#else
#define KSM_DOMAIN_TARGET_ENTRIES
#endif

/**
 * What to ask the broker for: the domain of --domain, else @given, which may
 * be NULL.  *@target: g_free().  FALSE: there is no such domain, or it does
 * not run.
 */
gboolean ksm_domain_target(const char *given, char **target, GError **errp);

/** Says of an error that no such VM is there what that means for a domain. */
void ksm_domain_target_explain(GError **errp);

#endif /* KSM_CTL_DOMAIN_TARGET_H */
