/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domain-doc.c: a libvirt domain's XML as a tree, and back as text. */
#include "domain/domain-doc.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>
#include <string.h>

#include "base/error.h"

#define XML(text) ((const xmlChar *)(text))

xmlDoc *ksm_domain_doc_read(const char *xml)
{
    return xmlReadMemory(xml, (int)strlen(xml), "libvirt.xml", NULL,
                         XML_PARSE_NONET | XML_PARSE_NOERROR |
                             XML_PARSE_NOWARNING);
}

xmlDoc *ksm_domain_doc_parse(const char *xml, GError **errp)
{
    xmlDoc *doc = ksm_domain_doc_read(xml);
    xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;

    if (root == NULL || !xmlStrEqual(root->name, XML("domain"))) {
        xmlFreeDoc(doc);
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "this is not the XML of a domain");
        return NULL;
    }
    return doc;
}

/* Copies an attribute's value, whose quotes become single ones. */
static const char *copy_value(GString *out, const char *at)
{
    g_string_append_c(out, '\'');
    for (at++; *at != '"' && *at != '\0'; at++) {
        if (*at == '\'') {
            g_string_append(out, "&apos;");
        } else {
            g_string_append_c(out, *at);
        }
    }
    g_string_append_c(out, '\'');
    return *at != '\0' ? at + 1 : at;
}

/* Copies a comment or the like as it is; NULL when @at is none. */
static const char *copy_verbatim(GString *out, const char *at)
{
    static const struct {
        const char *begin, *end;
    } kinds[] = {
        { "<!--", "-->" },
        { "<![CDATA[", "]]>" },
        { "<?", "?>" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const char *end = g_str_has_prefix(at, kinds[i].begin) ?
                              strstr(at, kinds[i].end) :
                              NULL;

        if (end != NULL) {
            end += strlen(kinds[i].end);
            g_string_append_len(out, at, end - at);
            return end;
        }
    }
    return NULL;
}

/* libxml2 writes double quotes, and none of these inside of a value. */
static char *with_single_quotes(const char *at)
{
    GString *out = g_string_new(NULL);
    gboolean in_tag = FALSE;

    while (*at != '\0') {
        const char *next = in_tag ? NULL : copy_verbatim(out, at);

        if (next != NULL) {
            at = next;
        } else if (in_tag && *at == '"') {
            at = copy_value(out, at);
        } else {
            in_tag = *at == '<' || (in_tag && *at != '>');
            g_string_append_c(out, *at++);
        }
    }
    return g_string_free(out, FALSE);
}

char *ksm_domain_doc_text(xmlDoc *doc)
{
    xmlBuffer *buffer = xmlBufferCreate();
    char *text;

    xmlNodeDump(buffer, doc, xmlDocGetRootElement(doc), 0, 0);
    xmlBufferAdd(buffer, XML("\n"), 1);
    text = with_single_quotes((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

GPtrArray *ksm_domain_doc_all(xmlDoc *doc, const char *xpath)
{
    GPtrArray *nodes = g_ptr_array_new();
    xmlXPathContext *context = xmlXPathNewContext(doc);
    xmlXPathObject *found;
    int i;

    xmlXPathRegisterNs(context, XML("qemu"), XML(KSM_DOMAIN_QEMU_NS));
    xmlXPathRegisterNs(context, XML("guest-ksm"), XML(KSM_DOMAIN_OWN_NS));
    found = xmlXPathEvalExpression(XML(xpath), context);
    g_assert(found != NULL && found->type == XPATH_NODESET);
    for (i = 0; found->nodesetval != NULL && i < found->nodesetval->nodeNr;
         i++) {
        g_ptr_array_add(nodes, found->nodesetval->nodeTab[i]);
    }
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    return nodes;
}

xmlNode *ksm_domain_doc_find(xmlDoc *doc, const char *xpath)
{
    g_autoptr(GPtrArray) nodes = ksm_domain_doc_all(doc, xpath);

    return nodes->len > 0 ? g_ptr_array_index(nodes, 0) : NULL;
}

/* Out of libxml2's memory into GLib's. */
static char *take(xmlChar *text)
{
    char *copy = g_strdup((const char *)text);

    xmlFree(text);
    return copy;
}

char *ksm_domain_doc_string(xmlDoc *doc, const char *xpath)
{
    xmlNode *node = ksm_domain_doc_find(doc, xpath);

    return node != NULL ? take(xmlNodeGetContent(node)) : NULL;
}

char *ksm_domain_doc_attribute(xmlNode *node, const char *name)
{
    return take(xmlGetNoNsProp(node, XML(name)));
}

gboolean ksm_domain_doc_has_children(xmlNode *node)
{
    return xmlFirstElementChild(node) != NULL;
}

static xmlNode *indentation(guint depth)
{
    g_autofree char *text = g_strdup_printf("\n%*s", (int)depth * 2, "");

    return xmlNewText(XML(text));
}

/*
 * The text before an element indents it, and the one before the end of the
 * parent indents that end.
 */
xmlNode *ksm_domain_doc_add(xmlNode *parent, xmlNode *before, xmlNs *ns,
                            const char *name, guint depth)
{
    xmlNode *node = xmlNewNode(ns, XML(name));

    if (before == NULL) {
        if (parent->last == NULL || !xmlNodeIsText(parent->last)) {
            xmlAddChild(parent, indentation(depth - 1));
        }
        before = parent->last;
    } else if (before->prev != NULL && xmlNodeIsText(before->prev)) {
        before = before->prev;
    }
    /* xmlAddPrevSibling() joins neighbouring texts, so the element first. */
    xmlAddPrevSibling(before, node);
    xmlAddPrevSibling(node, indentation(depth));
    return node;
}

void ksm_domain_doc_remove(xmlNode *node)
{
    xmlNode *space = node->prev;

    if (space != NULL && xmlIsBlankNode(space)) {
        xmlUnlinkNode(space);
        xmlFreeNode(space);
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

xmlNs *ksm_domain_doc_qemu_ns(xmlDoc *doc)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNs *ns = xmlSearchNsByHref(doc, root, XML(KSM_DOMAIN_QEMU_NS));

    return ns != NULL ? ns :
                        xmlNewNs(root, XML(KSM_DOMAIN_QEMU_NS), XML("qemu"));
}

void ksm_domain_doc_drop_qemu_ns(xmlDoc *doc)
{
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNs **link = &root->nsDef;

    if (ksm_domain_doc_find(doc, "//qemu:* | //@qemu:*") != NULL) {
        return;
    }
    while (*link != NULL) {
        xmlNs *ns = *link;

        if (xmlStrEqual(ns->href, XML(KSM_DOMAIN_QEMU_NS))) {
            *link = ns->next;
            xmlFreeNs(ns);
        } else {
            link = &ns->next;
        }
    }
}
