/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-node.c: the host's NUMA node that a domain's memory is kept to.
 *
 * Which node it is says <numatune>, and libvirt binds its own memory object,
 * which ours replaces.  Shared pages lie where they were first found, whatever
 * that says, unless merge-across-nodes=off keeps all to one node: so a bound
 * domain needs that, and that needs a domain which is bound to one node.
 */
#include "domain/domain-node.h"

#include <string.h>

#include "base/error.h"

#define MEMORY "/domain/numatune/memory"
#define BOUND MEMORY "[@mode != 'restrictive'] | /domain/numatune/memnode"
#define ACROSS "merge-across-nodes"

/* What libvirt's modes are to QEMU; of the others none keeps to one node. */
static const char *policy_of(const char *mode)
{
    return g_strcmp0(mode, "strict") == 0    ? "bind" :
           g_strcmp0(mode, "preferred") == 0 ? "preferred" :
                                               NULL;
}

static gboolean set_node(xmlDoc *doc, KsmOpts *opts, GError **errp)
{
    g_autofree char *mode = ksm_domain_doc_string(doc, MEMORY "/@mode");
    g_autofree char *nodes = ksm_domain_doc_string(doc, MEMORY "/@nodeset");

    if (policy_of(mode) == NULL || nodes == NULL || *nodes == '\0' ||
        strspn(nodes, G_CSET_DIGITS) != strlen(nodes)) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "cannot share the memory of this domain: " ACROSS "=off "
                    "keeps it to one node of the host, and it is not bound to "
                    "one (<numatune>: <memory mode='strict' nodeset='0'/>, or "
                    "'preferred')");
        return FALSE;
    }
    ksm_opts_set(opts, "host-nodes", nodes);
    ksm_opts_set(opts, "policy", policy_of(mode));
    return TRUE;
}

gboolean ksm_domain_apply_node(xmlDoc *doc, KsmOpts *opts, GError **errp)
{
    const char *across = ksm_opts_get(opts, ACROSS);

    ksm_opts_remove(opts, "host-nodes");
    ksm_opts_remove(opts, "policy");
    if (across != NULL && strcmp(across, "on") != 0 &&
        strcmp(across, "off") != 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_USAGE,
                    "--set " ACROSS "=%s: use on or off", across);
        return FALSE;
    }
    if (g_strcmp0(across, "off") == 0) {
        return set_node(doc, opts, errp);
    }
    if (ksm_domain_doc_find(doc, BOUND) != NULL) {
        g_set_error(
            errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
            "cannot share the memory of this domain: its memory is "
            "bound to NUMA nodes (<numatune>), and shared pages lie "
            "where they were first found; when it is one node, --set " ACROSS
            "=off keeps them there");
        return FALSE;
    }
    return TRUE;
}
