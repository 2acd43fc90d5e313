/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd-domain-xml.c: `guest-ksmctl domain-xml`: sharing for a libvirt domain,
 * from its next start on.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/command.h"
#include "domain/domain-ksm.h"
#include "domain/emulator.h"
#include "domain/line-diff.h"
#include "domain/virt.h"

#define SYSTEM_BROKER "/run/guest-ksm/broker.sock"

static char *uri, *group, *broker, *emulator;
static char **properties;
static gboolean yes, dry_run;

static const GOptionEntry entries[] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &uri,
      "libvirt's connection (libvirt's default)", "URI" },
    { "group", 'g', 0, G_OPTION_ARG_STRING, &group,
      "enable: the trust group to share in", "NAME" },
    { "broker", 'b', 0, G_OPTION_ARG_FILENAME, &broker,
      "enable: the broker's socket for guests (/run/guest-ksm/broker.sock)",
      "PATH" },
    { "emulator", 'e', 0, G_OPTION_ARG_FILENAME, &emulator,
      "enable: the QEMU that has memory-backend-ksm", "PATH" },
    { "set", 0, 0, G_OPTION_ARG_STRING_ARRAY, &properties,
      "enable: a property of memory-backend-ksm; more than once", "KEY=VALUE" },
    { "yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "Do not ask whether to do it",
      NULL },
    { "dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run,
      "Only show what would change", NULL },
    { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL },
};

static void print_json(virDomain *domain, const KsmDomainState *state)
{
    g_autoptr(JsonObject) reply = json_object_new();
    guint i;

    json_object_set_string_member(reply, "domain", virDomainGetName(domain));
    json_object_set_boolean_member(reply, "active",
                                   virDomainIsActive(domain) == 1);
    json_object_set_boolean_member(reply, "enabled", state->enabled);
    json_object_set_string_member(reply, "emulator", state->emulator);
    if (state->emulator_before != NULL) {
        json_object_set_string_member(reply, "emulator-before",
                                      state->emulator_before);
    }
    for (i = 1; state->enabled && i < state->backend->len; i++) {
        g_auto(GStrv) pair = g_strsplit(g_ptr_array_index(state->backend, i),
                                        "=", 2);

        json_object_set_string_member(reply, pair[0], pair[1]);
    }
    ksm_command_print_json(reply);
}

static gboolean show(KsmCtl *ctl, virDomain *domain, const char *xml,
                     GError **errp)
{
    g_autoptr(KsmDomainState) state = ksm_domain_inspect(xml, errp);
    guint i;

    if (state == NULL) {
        return FALSE;
    }
    if (ctl->json) {
        print_json(domain, state);
        return TRUE;
    }
    printf("%s: sharing is %s\n", virDomainGetName(domain),
           state->enabled ? "enabled" : "not enabled");
    for (i = 2; state->enabled && i < state->backend->len; i++) {
        printf("  %s\n", (const char *)g_ptr_array_index(state->backend, i));
    }
    printf("  emulator=%s%s%s%s\n", state->emulator,
           state->emulator_before != NULL ? " (before: " : "",
           state->emulator_before != NULL ? state->emulator_before : "",
           state->emulator_before != NULL ? ")" : "");
    return TRUE;
}

/* FALSE without an error: the answer was no. */
static gboolean confirmed(GError **errp)
{
    char answer[8];

    if (yes) {
        return TRUE;
    }
    if (!isatty(STDIN_FILENO)) {
        return ksm_command_usage(errp, "standard input is not a terminal, so "
                                       "nobody can be asked; use --yes");
    }
    printf("Change the domain like that? [y/N] ");
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) != NULL &&
        g_ascii_tolower(answer[0]) == 'y') {
        return TRUE;
    }
    printf("nothing was changed\n");
    return FALSE;
}

/* Both as libxml2 writes them, lest that alone makes a difference. */
static gboolean print_diff(virDomain *domain, const char *before,
                           const char *after)
{
    g_autofree char *diff = ksm_line_diff(before, after);

    if (*diff == '\0') {
        return FALSE;
    }
    printf("--- %s\n+++ %s\n%s", virDomainGetName(domain),
           virDomainGetName(domain), diff);
    return TRUE;
}

/* What happens when, after it was changed. */
static const char *from_when(virDomain *domain)
{
    if (virDomainIsActive(domain) == 1) {
        return "; the domain is running: it counts from its next start on";
    }
    if (virDomainHasManagedSaveImage(domain, 0) == 1) {
        return "; the domain has a saved state, with which it starts as it "
               "was: virsh managedsave-remove drops that";
    }
    return "";
}

/* Somebody may have changed it while we asked. */
static gboolean unchanged(virDomain *domain, const char *xml, GError **errp)
{
    g_autofree char *now = ksm_virt_dump(domain, FALSE, errp);

    if (now != NULL && strcmp(now, xml) != 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "domain '%s' was changed meanwhile: try again",
                    virDomainGetName(domain));
        return FALSE;
    }
    return now != NULL;
}

/* @xml: as it was dumped; @before: the same as @after is written. */
static gboolean apply(virConnect *connect, virDomain *domain, const char *xml,
                      const char *before, const char *after, GError **errp)
{
    const char *name = virDomainGetName(domain);
    g_autoptr(GError) error = NULL;

    if (!print_diff(domain, before, after)) {
        printf("%s: nothing to change\n", name);
        return TRUE;
    }
    if (dry_run) {
        return TRUE;
    }
    if (!confirmed(&error)) {
        if (error == NULL) {
            return TRUE;
        }
        g_propagate_error(errp, g_steal_pointer(&error));
        return FALSE;
    }
    if (!unchanged(domain, xml, errp) ||
        !ksm_virt_define(connect, after, errp)) {
        return FALSE;
    }
    printf("%s: done%s\n", name, from_when(domain));
    return TRUE;
}

static char *default_broker(virConnect *connect)
{
    if (!ksm_virt_is_session(connect)) {
        return g_strdup(SYSTEM_BROKER);
    }
    return g_build_filename(g_get_user_runtime_dir(), "guest-ksm",
                            "broker.sock", NULL);
}

/* QEMU without the object would not start; said now it helps more. */
static gboolean check_emulator(virConnect *connect, const char *xml,
                               GError **errp)
{
    g_autoptr(KsmDomainState) state = ksm_domain_inspect(xml, errp);

    return state != NULL &&
           (!ksm_virt_is_local(connect) || state->emulator == NULL ||
            ksm_emulator_check(state->emulator, errp));
}

static char *enabled_xml(virConnect *connect, const char *xml, GError **errp)
{
    g_autofree char *usual_broker = default_broker(connect);
    KsmDomainSettings settings = {
        .group = group,
        .broker = broker,
        .default_broker = usual_broker,
        .emulator = emulator,
        .properties = properties,
    };
    g_autofree char *after = NULL;

    if (virConnectGetLibVersion(connect, &settings.libvirt_version) != 0) {
        settings.libvirt_version = 0;
    }
    after = ksm_domain_enable(xml, &settings, errp);
    return after != NULL && check_emulator(connect, after, errp) ?
               g_steal_pointer(&after) :
               NULL;
}

static gboolean run(KsmCtl *ctl, const char *verb, const char *name,
                    GError **errp)
{
    g_autoptr(virConnect) connect = NULL;
    g_autoptr(virDomain) domain = NULL;
    g_autofree char *xml = NULL, *before = NULL, *after = NULL;
    gboolean enable = strcmp(verb, "enable") == 0;
    gboolean only_show = strcmp(verb, "show") == 0;

    if (!enable && !only_show && strcmp(verb, "disable") != 0) {
        return ksm_command_usage(errp,
                                 "domain-xml %s: use enable, disable "
                                 "or show",
                                 verb);
    }
    if (!enable && (group != NULL || broker != NULL || emulator != NULL ||
                    properties != NULL)) {
        return ksm_command_usage(errp,
                                 "domain-xml %s: --group, --broker, "
                                 "--emulator and --set are for enable",
                                 verb);
    }
    connect = ksm_virt_open(uri, only_show, errp);
    domain = connect != NULL ? ksm_virt_domain(connect, name, errp) : NULL;
    xml = domain != NULL ? ksm_virt_dump(domain, only_show, errp) : NULL;
    if (xml == NULL) {
        return FALSE;
    }
    if (only_show) {
        return show(ctl, domain, xml, errp);
    }
    before = ksm_domain_rewrite(xml, errp);
    after = before == NULL ? NULL :
            enable         ? enabled_xml(connect, xml, errp) :
                             ksm_domain_disable(xml, errp);
    if (after == NULL) {
        g_prefix_error(errp, "%s: ", virDomainGetName(domain));
        return FALSE;
    }
    return apply(connect, domain, xml, before, after, errp);
}

static gboolean run_domain_xml(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok = run(ctl, args[0], args[1], errp);

    g_free(uri);
    g_free(group);
    g_free(broker);
    g_free(emulator);
    g_strfreev(properties);
    return ok;
}

extern const KsmCommand ksm_command_domain_xml;
const KsmCommand ksm_command_domain_xml = {
    .name = "domain-xml",
    .arguments = "VERB DOMAIN",
    .summary = "Enable, disable or show sharing of a libvirt domain",
    .details = "VERB: enable, disable or show.  Changes the XML for the "
               "domain's next start,\nafter showing the change "
               "and asking; disable restores what was there before.\n"
               "Properties for --set: "
               "required, run, scan-cpu-percent, scan-interval, "
               "max-mappings,\nmerge-across-nodes (off: bound to one node by "
               "<numatune>), keep-huge.",
    .least = 2,
    .most = 2,
    .entries = entries,
    .run = run_domain_xml,
};
