/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-doc.h: a libvirt domain's XML as a tree, and back as text.
 *
 * Indentation is kept, as text nodes: what is inserted gets its own, and what
 * is removed takes its own away, so that text that was not touched stays.
 */
#ifndef KSM_CTL_DOMAIN_DOC_H
#define KSM_CTL_DOMAIN_DOC_H

#include <glib.h>
#include <libxml/tree.h>

#define KSM_DOMAIN_QEMU_NS "http://libvirt.org/schemas/domain/qemu/1.0"
#define KSM_DOMAIN_OWN_NS "urn:guest-ksm:domain"

/** NULL: @errp of KSM_CTL_ERROR.  Free with xmlFreeDoc(). */
xmlDoc *ksm_domain_doc_parse(const char *xml, GError **errp);

/** Any XML of libvirt's, or NULL. */
xmlDoc *ksm_domain_doc_read(const char *xml);

/** Written as libvirt does, attributes in single quotes; g_free(). */
char *ksm_domain_doc_text(xmlDoc *doc);

/** The first match, or NULL; prefixes: qemu, guest-ksm. */
xmlNode *ksm_domain_doc_find(xmlDoc *doc, const char *xpath);

/** All matches, in the order of the document; of xmlNode, not owned. */
GPtrArray *ksm_domain_doc_all(xmlDoc *doc, const char *xpath);

/** Text of the first match (an attribute's value), or NULL; g_free(). */
char *ksm_domain_doc_string(xmlDoc *doc, const char *xpath);

/** An attribute, or NULL; g_free(). */
char *ksm_domain_doc_attribute(xmlNode *node, const char *name);

/**
 * A new child <@name> of @parent at that depth (children of <domain> have 1):
 * before @before, or as the last one.  @ns: NULL for none.
 */
xmlNode *ksm_domain_doc_add(xmlNode *parent, xmlNode *before, xmlNs *ns,
                            const char *name, guint depth);

/** Takes it out, with the indentation before it. */
void ksm_domain_doc_remove(xmlNode *node);

/** Whether an element has elements in it. */
gboolean ksm_domain_doc_has_children(xmlNode *node);

/** The namespace on <domain>, declared there when it is not yet. */
xmlNs *ksm_domain_doc_qemu_ns(xmlDoc *doc);

/** Drops that declaration when nothing uses it. */
void ksm_domain_doc_drop_qemu_ns(xmlDoc *doc);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)

#endif /* KSM_CTL_DOMAIN_DOC_H */
