/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-settings.c: the properties of a domain's memory-backend-ksm. */
#include "domain/domain-settings.h"

#include <string.h>

#include "base/error.h"
#include "domain/domain-node.h"

#define RAM_ID "pc.ram" /* of all PC machine types */
#define GROUP_MAX 63
#define MIB (1024 * 1024)

/* -m is given in MiB by libvirt, rounded up, and the sizes must be equal. */
static gboolean memory_bytes(xmlDoc *doc, guint64 *bytes, GError **errp)
{
    g_autofree char *text = ksm_domain_doc_string(doc, "/domain/memory");
    g_autofree char *unit = ksm_domain_doc_string(doc, "/domain/memory/@unit");
    guint64 kib = 0;

    if (text == NULL || (unit != NULL && strcmp(unit, "KiB") != 0) ||
        !g_ascii_string_to_unsigned(g_strstrip(text), 10, 1, G_MAXUINT64 / MIB,
                                    &kib, NULL)) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_USAGE,
                    "the domain's <memory> is no number of KiB");
        return FALSE;
    }
    *bytes = (kib * 1024 + MIB - 1) / MIB * MIB;
    return TRUE;
}

static gboolean check_group(const char *group, GError **errp)
{
    gsize length = group != NULL ? strlen(group) : 0;

    if (group == NULL) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_USAGE,
                    "which trust group? --group NAME; all domains of one "
                    "group may share pages");
        return FALSE;
    }
    if (length < 1 || length > GROUP_MAX ||
        strspn(group, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") !=
            length) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_USAGE,
                    "--group '%s' is not a valid name: 1 to %d of A-Z a-z "
                    "0-9 . _ -",
                    group, GROUP_MAX);
        return FALSE;
    }
    return TRUE;
}

/* Further properties of the object; which there are, QEMU knows. */
static gboolean set_properties(KsmOpts *opts, char **properties, GError **errp)
{
    static const char *const known[] = {
        "required",      "run",          "scan-cpu-percent",
        "scan-interval", "max-mappings", "merge-across-nodes",
        "keep-huge",     NULL,
    };
    guint i;

    for (i = 0; properties != NULL && properties[i] != NULL; i++) {
        const char *equals = strchr(properties[i], '=');
        g_autofree char *key = equals != NULL ?
                                   g_strndup(properties[i],
                                             (gsize)(equals - properties[i])) :
                                   NULL;

        if (key == NULL || !g_strv_contains(known, key)) {
            g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_USAGE,
                        "--set %s: use required=, run=, scan-cpu-percent=, "
                        "scan-interval=, max-mappings=, "
                        "merge-across-nodes= or keep-huge=",
                        properties[i]);
            return FALSE;
        }
        ksm_opts_set(opts, key, equals + 1);
    }
    return TRUE;
}

gboolean ksm_domain_apply(const KsmDomainSettings *settings, xmlDoc *doc,
                          KsmOpts *opts, GError **errp)
{
    const char *group = settings->group, *broker = settings->broker;
    g_autofree char *size = NULL;
    guint64 bytes = 0;

    if (group == NULL) {
        group = ksm_opts_get(opts, "group");
    }
    if (broker == NULL) {
        broker = ksm_opts_get(opts, "broker");
    }
    if (broker == NULL) {
        broker = settings->default_broker;
    }
    if (!check_group(group, errp) || !memory_bytes(doc, &bytes, errp)) {
        return FALSE;
    }
    size = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    ksm_opts_set(opts, "size", size);
    ksm_opts_set(opts, "group", group);
    if (broker != NULL) {
        ksm_opts_set(opts, "broker", broker);
    }
    ksm_opts_set(opts, "ram-id", RAM_ID);
    return set_properties(opts, settings->properties, errp) &&
           ksm_domain_apply_node(doc, opts, errp);
}
