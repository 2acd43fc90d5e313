/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virt.h: what is asked of libvirt; errors are of KSM_CTL_ERROR. */
#ifndef KSM_CTL_VIRT_H
#define KSM_CTL_VIRT_H

#include <glib.h>
#include <libvirt/libvirt.h>

/** @uri: NULL for libvirt's default.  Close with virConnectClose(). */
virConnect *ksm_virt_open(const char *uri, gboolean read_only, GError **errp);

/** By name, UUID or id, as virsh does. */
virDomain *ksm_virt_domain(virConnect *connect, const char *name,
                           GError **errp);

/** The XML for its next start, with its secrets unless read only; g_free(). */
char *ksm_virt_dump(virDomain *domain, gboolean read_only, GError **errp);

/** Replaces the XML for its next start. */
gboolean ksm_virt_define(virConnect *connect, const char *xml, GError **errp);

/** qemu:///session: domains of the user, not of the host. */
gboolean ksm_virt_is_session(virConnect *connect);

/** It is on this machine, so that paths are, too. */
gboolean ksm_virt_is_local(virConnect *connect);

static inline void ksm_virt_close(virConnect *connect)
{
    virConnectClose(connect);
}

static inline void ksm_virt_domain_free(virDomain *domain)
{
    virDomainFree(domain);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, ksm_virt_close)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, ksm_virt_domain_free)

#endif /* KSM_CTL_VIRT_H */
