/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * domain-ksm.c: memory-backend-ksm in a domain's XML, by <qemu:commandline>.
 *
 * Ours are, and disabling takes out exactly these:
 *
 *   <qemu:arg value='-object'/>
 *   <qemu:arg value='memory-backend-ksm,id=ksm0,size=...,...'/>
 *   <qemu:arg value='-machine'/>
 *   <qemu:arg value='memory-backend=ksm0'/>
 *
 * The later -machine wins over libvirt's.  Its own memory object, pc.ram,
 * stays, is not used and takes no memory; with ram-id ours has its name, for
 * migration and saved states.
 *
 * libvirt before 9.2 gives QEMU -no-acpi and -no-hpet, which QEMU 10 does not
 * know: then <qemu:del capability='no-acpi'/> keeps it from that, and acpi=off
 * behind our memory-backend=ksm0 says it as one does now.  The option shows
 * that the element is ours.
 *
 * Which <emulator> was there before stands in <metadata>.
 */
#include "domain/domain-ksm.h"

#include <string.h>

#include "domain/domain-doc.h"
#include "domain/domain-refuse.h"
#include "domain/domain-settings.h"

#define ID "ksm0"
#define OBJECT KSM_DOMAIN_OBJECT(ID)
#define MACHINE "memory-backend=" ID
#define COMMANDLINE "/domain/qemu:commandline"
#define CAPABILITIES "/domain/qemu:capabilities"
#define EMULATOR "/domain/devices/emulator"
#define METADATA "/domain/metadata"
#define BEFORE METADATA "/guest-ksm:emulator"

/* What old libvirts say on the command line, and how one says it now. */
static const struct {
    const char *xpath; /* what makes libvirt say it */
    const char *capability;
    const char *option, *value;
} outdated[] = {
    { "/domain[not(features/acpi)]", "no-acpi", "acpi", "off" },
    { "/domain/clock/timer[@name = 'hpet' and @present = 'no']", "no-hpet",
      "hpet", "off" },
};

/* An argument of ours: the one that begins with @begin after @option. */
static xmlNode *own_argument(xmlDoc *doc, const char *option, const char *begin)
{
    g_autofree char *xpath = g_strdup_printf(
        COMMANDLINE "/qemu:arg[(@value = '%s' or starts-with(@value, '%s,'))"
                    " and preceding-sibling::qemu:arg[1]/@value = '%s']",
        begin, begin, option);

    return ksm_domain_doc_find(doc, xpath);
}

static void remove_argument(xmlNode *value)
{
    ksm_domain_doc_remove(xmlPreviousElementSibling(value));
    ksm_domain_doc_remove(value);
}

static void remove_when_empty(xmlDoc *doc, const char *xpath)
{
    xmlNode *node = ksm_domain_doc_find(doc, xpath);

    if (node != NULL && !ksm_domain_doc_has_children(node)) {
        ksm_domain_doc_remove(node);
    }
}

static KsmOpts *opts_of(xmlNode *argument)
{
    g_autofree char *value = argument != NULL ?
                                 ksm_domain_doc_attribute(argument, "value") :
                                 NULL;

    return value != NULL ? ksm_opts_parse(value) : NULL;
}

static xmlNode *deleted_capability(xmlDoc *doc, const char *name)
{
    g_autofree char *xpath =
        g_strdup_printf(CAPABILITIES "/qemu:del[@capability = '%s']", name);

    return ksm_domain_doc_find(doc, xpath);
}

/* -- taking out ----------------------------------------------------------- */

static void remove_capabilities(xmlDoc *doc, const KsmOpts *machine)
{
    guint i;

    for (i = 0; i < G_N_ELEMENTS(outdated); i++) {
        xmlNode *del = deleted_capability(doc, outdated[i].capability);

        if (del != NULL && ksm_opts_get(machine, outdated[i].option)) {
            ksm_domain_doc_remove(del);
        }
    }
    remove_when_empty(doc, CAPABILITIES);
}

static void put_emulator_back(xmlDoc *doc)
{
    xmlNode *note = ksm_domain_doc_find(doc, BEFORE);
    xmlNode *emulator = ksm_domain_doc_find(doc, EMULATOR);
    g_autofree char *before = NULL, *set = NULL, *now = NULL;

    if (note == NULL) {
        return;
    }
    before = ksm_domain_doc_attribute(note, "before");
    set = ksm_domain_doc_attribute(note, "set");
    now = ksm_domain_doc_string(doc, EMULATOR);
    /* Somebody may have chosen another one since. */
    if (emulator != NULL && before != NULL && g_strcmp0(set, now) == 0) {
        xmlNodeSetContent(emulator, NULL);
        xmlNodeAddContent(emulator, (const xmlChar *)before);
    }
    ksm_domain_doc_remove(note);
    remove_when_empty(doc, METADATA);
}

static void take_out(xmlDoc *doc)
{
    xmlNode *object = own_argument(doc, "-object", OBJECT);
    xmlNode *machine = own_argument(doc, "-machine", MACHINE);
    g_autoptr(GPtrArray) opts = opts_of(machine);

    if (object != NULL) {
        remove_argument(object);
    }
    if (machine != NULL) {
        remove_capabilities(doc, opts);
        remove_argument(machine);
    }
    remove_when_empty(doc, COMMANDLINE);
    put_emulator_back(doc);
    ksm_domain_doc_drop_qemu_ns(doc);
}

/* -- putting in ----------------------------------------------------------- */

/* The child of <domain> of that name, which is made when it is missing. */
static xmlNode *qemu_element(xmlDoc *doc, const char *xpath, const char *name)
{
    xmlNode *node = ksm_domain_doc_find(doc, xpath);
    xmlNs *ns = ksm_domain_doc_qemu_ns(doc);

    return node != NULL ?
               node :
               ksm_domain_doc_add(xmlDocGetRootElement(doc), NULL, ns, name, 1);
}

/* Arguments come before <qemu:env>, as libvirt writes them. */
static void add_argument(xmlDoc *doc, const char *option, const char *value)
{
    xmlNode *parent = qemu_element(doc, COMMANDLINE, "commandline");
    xmlNode *before = ksm_domain_doc_find(doc, COMMANDLINE "/qemu:env");
    const char *const values[] = { option, value };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(values); i++) {
        xmlNode *node = ksm_domain_doc_add(parent, before, parent->ns, "arg",
                                           2);

        xmlNewProp(node, (const xmlChar *)"value", (const xmlChar *)values[i]);
    }
}

static void add_machine(xmlDoc *doc, gulong libvirt_version)
{
    g_autoptr(GPtrArray) opts = ksm_opts_parse(MACHINE);
    g_autofree char *value = NULL;
    guint i;

    for (i = 0; i < G_N_ELEMENTS(outdated) &&
                libvirt_version < KSM_DOMAIN_LIBVIRT_FLOOR;
         i++) {
        xmlNode *parent, *node;

        if (ksm_domain_doc_find(doc, outdated[i].xpath) == NULL ||
            deleted_capability(doc, outdated[i].capability) != NULL) {
            continue;
        }
        parent = qemu_element(doc, CAPABILITIES, "capabilities");
        node = ksm_domain_doc_add(parent, NULL, parent->ns, "del", 2);
        xmlNewProp(node, (const xmlChar *)"capability",
                   (const xmlChar *)outdated[i].capability);
        ksm_opts_set(opts, outdated[i].option, outdated[i].value);
    }
    value = ksm_opts_format(opts);
    add_argument(doc, "-machine", value);
}

/* <metadata> stands behind these, in this order. */
static xmlNode *add_metadata(xmlDoc *doc)
{
    xmlNode *last = ksm_domain_doc_find(
        doc, "(/domain/name | /domain/uuid | /domain/genid | /domain/title | "
             "/domain/description)[last()]");
    xmlNode *root = xmlDocGetRootElement(doc);
    xmlNode *before = last != NULL ? xmlNextElementSibling(last) :
                                     xmlFirstElementChild(root);

    return ksm_domain_doc_add(root, before, NULL, "metadata", 1);
}

static void set_emulator(xmlDoc *doc, const char *path)
{
    xmlNode *emulator = ksm_domain_doc_find(doc, EMULATOR);
    xmlNode *devices = ksm_domain_doc_find(doc, "/domain/devices");
    xmlNode *metadata, *note;
    g_autofree char *before = ksm_domain_doc_string(doc, EMULATOR);
    xmlNs *ns;

    if (path == NULL || g_strcmp0(before, path) == 0 || devices == NULL) {
        return;
    }
    if (emulator == NULL) {
        emulator = ksm_domain_doc_add(devices, xmlFirstElementChild(devices),
                                      NULL, "emulator", 2);
    }
    xmlNodeSetContent(emulator, NULL);
    xmlNodeAddContent(emulator, (const xmlChar *)path);
    if (before == NULL) {
        return; /* libvirt names one in every domain */
    }
    metadata = ksm_domain_doc_find(doc, METADATA);
    if (metadata == NULL) {
        metadata = add_metadata(doc);
    }
    note = ksm_domain_doc_add(metadata, NULL, NULL, "emulator", 2);
    ns = xmlNewNs(note, (const xmlChar *)KSM_DOMAIN_OWN_NS,
                  (const xmlChar *)"guest-ksm");
    xmlSetNs(note, ns);
    xmlNewProp(note, (const xmlChar *)"before", (const xmlChar *)before);
    xmlNewProp(note, (const xmlChar *)"set", (const xmlChar *)path);
}

char *ksm_domain_enable(const char *xml, const KsmDomainSettings *settings,
                        GError **errp)
{
    g_autoptr(xmlDoc) doc = ksm_domain_doc_parse(xml, errp);
    g_autoptr(KsmDomainState) state = ksm_domain_inspect(xml, NULL);
    const char *emulator = settings->emulator;
    g_autoptr(GPtrArray) opts = NULL;
    g_autofree char *object = NULL;

    if (doc == NULL) {
        return NULL;
    }
    if (emulator == NULL && state->emulator_before != NULL) {
        emulator = state->emulator;
    }
    take_out(doc);
    if (!ksm_domain_refuse(doc, errp)) {
        return NULL;
    }
    opts = state->backend != NULL ? g_ptr_array_ref(state->backend) :
                                    ksm_opts_parse(OBJECT);
    if (!ksm_domain_apply(settings, doc, opts, errp)) {
        return NULL;
    }
    object = ksm_opts_format(opts);
    add_argument(doc, "-object", object);
    add_machine(doc, settings->libvirt_version);
    set_emulator(doc, emulator);
    return ksm_domain_doc_text(doc);
}

char *ksm_domain_disable(const char *xml, GError **errp)
{
    g_autoptr(xmlDoc) doc = ksm_domain_doc_parse(xml, errp);

    if (doc == NULL) {
        return NULL;
    }
    take_out(doc);
    return ksm_domain_doc_text(doc);
}

char *ksm_domain_rewrite(const char *xml, GError **errp)
{
    g_autoptr(xmlDoc) doc = ksm_domain_doc_parse(xml, errp);

    return doc != NULL ? ksm_domain_doc_text(doc) : NULL;
}

KsmDomainState *ksm_domain_inspect(const char *xml, GError **errp)
{
    g_autoptr(xmlDoc) doc = ksm_domain_doc_parse(xml, errp);
    KsmDomainState *state;

    if (doc == NULL) {
        return NULL;
    }
    state = g_new0(KsmDomainState, 1);
    state->backend = opts_of(own_argument(doc, "-object", OBJECT));
    state->enabled = state->backend != NULL &&
                     own_argument(doc, "-machine", MACHINE) != NULL;
    state->emulator = ksm_domain_doc_string(doc, EMULATOR);
    state->emulator_before = ksm_domain_doc_string(doc, BEFORE "/@before");
    return state;
}

void ksm_domain_state_free(KsmDomainState *state)
{
    if (state->backend != NULL) {
        g_ptr_array_unref(state->backend);
    }
    g_free(state->emulator);
    g_free(state->emulator_before);
    g_free(state);
}
