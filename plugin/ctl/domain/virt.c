/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virt.c: what is asked of libvirt. */
#include "domain/virt.h"

#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* libvirt would print every error by itself. */
static void ignore(void *opaque, virErrorPtr error)
{
    (void)opaque;
    (void)error;
}

static KsmCtlStatus status_of(const virError *error)
{
    switch (error != NULL ? error->code : 0) {
    case VIR_ERR_NO_DOMAIN:
        return KSM_CTL_NO_SUCH;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        return KSM_CTL_PERMISSION;
    default:
        return KSM_CTL_FAILED;
    }
}

/* The last error of libvirt, of what was asked for. */
static void set_error(GError **errp, const char *what, const char *remedy)
{
    const virError *error = virGetLastError();

    g_set_error(errp, KSM_CTL_ERROR, status_of(error), "%s: %s%s", what,
                error != NULL ? error->message : "unknown error", remedy);
}

virConnect *ksm_virt_open(const char *uri, gboolean read_only, GError **errp)
{
    virConnect *connect;

    virSetErrorFunc(NULL, ignore);
    connect = virConnectOpenAuth(uri, virConnectAuthPtrDefault,
                                 read_only ? VIR_CONNECT_RO : 0);
    if (connect == NULL) {
        set_error(errp, uri != NULL ? uri : "libvirt",
                  "; is its daemon running, and is this the connection "
                  "(--connect URI)?");
    }
    return connect;
}

static virDomain *look_up(virConnect *connect, const char *name)
{
    char *end;
    unsigned long id = strtoul(name, &end, 10);
    virDomain *domain = NULL;

    if (*name != '\0' && *end == '\0' && id <= G_MAXINT) {
        domain = virDomainLookupByID(connect, (int)id);
    }
    if (domain == NULL && g_uuid_string_is_valid(name)) {
        domain = virDomainLookupByUUIDString(connect, name);
    }
    return domain != NULL ? domain : virDomainLookupByName(connect, name);
}

virDomain *ksm_virt_domain(virConnect *connect, const char *name, GError **errp)
{
    virDomain *domain = look_up(connect, name);

    if (domain == NULL) {
        g_autofree char *what = g_strdup_printf("domain '%s'", name);

        set_error(errp, what, "; virsh list --all shows what there is");
    }
    return domain;
}

char *ksm_virt_dump(virDomain *domain, gboolean read_only, GError **errp)
{
    char *xml = NULL, *copy;

    if (virDomainIsPersistent(domain) == 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "domain '%s' is transient: it has no XML for another "
                    "start",
                    virDomainGetName(domain));
        return NULL;
    }
    xml = virDomainGetXMLDesc(domain,
                              VIR_DOMAIN_XML_INACTIVE |
                                  (read_only ? 0 : VIR_DOMAIN_XML_SECURE));
    if (xml == NULL) {
        set_error(errp, virDomainGetName(domain), "");
        return NULL;
    }
    copy = g_strdup(xml);
    free(xml);
    return copy;
}

gboolean ksm_virt_define(virConnect *connect, const char *xml, GError **errp)
{
    virDomain *domain = virDomainDefineXMLFlags(connect, xml,
                                                VIR_DOMAIN_DEFINE_VALIDATE);

    /* libvirt was seen to write what its own schema does not have. */
    if (domain == NULL && virGetLastErrorCode() == VIR_ERR_XML_INVALID_SCHEMA) {
        domain = virDomainDefineXMLFlags(connect, xml, 0);
    }
    if (domain == NULL) {
        set_error(errp, "libvirt refuses the changed XML", "");
        return FALSE;
    }
    virDomainFree(domain);
    return TRUE;
}

/* The part of the URI behind the host: "/system" or "/session". */
static gboolean uri_has(virConnect *connect, const char *begin)
{
    char *uri = virConnectGetURI(connect);
    gboolean has = uri != NULL && strstr(uri, begin) != NULL;

    free(uri);
    return has;
}

gboolean ksm_virt_is_session(virConnect *connect)
{
    return uri_has(connect, "/session");
}

gboolean ksm_virt_is_local(virConnect *connect)
{
    return uri_has(connect, ":///");
}
