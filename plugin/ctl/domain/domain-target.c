/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-target.c: VMs named as libvirt names them, by --domain. */
#include "domain/domain-target.h"

#include <string.h>

#ifdef KSM_CTL_LIBVIRT
#include "session-name.h"
#include "domain/virt.h"
#endif

char *ksm_domain_target_name, *ksm_domain_target_uri;

#ifdef KSM_CTL_LIBVIRT
static char *find_domain(GError **errp)
{
    g_autoptr(virConnect) connect = ksm_virt_open(ksm_domain_target_uri, TRUE,
                                                  errp);
    g_autoptr(virDomain) domain = NULL;
    g_autofree char *vm = NULL;

    if (connect != NULL) {
        domain = ksm_virt_domain(connect, ksm_domain_target_name, errp);
    }
    if (domain == NULL) {
        return NULL;
    }
    if (virDomainIsActive(domain) != 1) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_NO_SUCH,
                    "domain '%s' does not run", virDomainGetName(domain));
        return NULL;
    }
    /* As its engines report it. */
    vm = ksm_session_name_part(virDomainGetName(domain), KSM_NAME_VM_MAX);
    return g_strconcat("vm:", vm, NULL);
}
#endif

gboolean ksm_domain_target(const char *given, char **target, GError **errp)
{
    *target = NULL;
#ifdef KSM_CTL_LIBVIRT
    if (ksm_domain_target_name != NULL) {
        if (given != NULL) {
            return ksm_command_usage(errp, "either '%s' or --domain", given);
        }
        *target = find_domain(errp);
        return *target != NULL;
    }
#else
    (void)errp;
#endif
    *target = g_strdup(given);
    return TRUE;
}

void ksm_domain_target_explain(GError **errp)
{
    if (ksm_domain_target_name != NULL && errp != NULL && *errp != NULL &&
        (*errp)->code == KSM_CTL_NO_SUCH &&
        strstr((*errp)->message, "there is no VM") != NULL) {
        g_clear_error(errp);
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_NO_SUCH,
                    "domain '%s' runs, but without memory-backend-ksm, or "
                    "not connected to this broker: see guest-ksmctl domain-xml "
                    "show",
                    ksm_domain_target_name);
    }
}
