/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check-libvirt.c: libvirt's version and settings, and whose QEMU is.
 *
 * libvirt gives QEMU a /dev of its own, with the devices of
 * cgroup_device_acl.  /dev/userfaultfd is one of them by default since 10.1,
 * which also gives it to QEMU's user; before, and where an administrator has
 * a list of his own, it must be named.
 */
#include "check/check.h"

#include <stdlib.h>
#include <string.h>

#include "domain/domain-doc.h"
#include "domain/virt.h"

#define LEAST 9000000
#define PASSES_DEVICE 10001000
#define QEMU_CONF "/etc/libvirt/qemu.conf"
#define DEVICE "/dev/userfaultfd"
#define RULES "/etc/apparmor.d"

/* The value of a setting that may go over several lines; or NULL. */
static char *setting(const char *conf, const char *name)
{
    g_autofree char *pattern =
        g_strdup_printf("^[ \\t]*%s[ \\t]*=[ \\t]*(\\[[^]]*\\]|[^\\n]*)", name);
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_MULTILINE, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    return g_regex_match(regex, conf, 0, &match) ?
               g_match_info_fetch(match, 1) :
               NULL;
}

static void check_device(KsmCheck *check, gulong version)
{
    g_autofree char *conf = ksm_check_read(check, QEMU_CONF);
    g_autofree char *acl = conf != NULL ? setting(conf, "cgroup_device_acl") :
                                          NULL;
    g_autofree char *free_for_all =
        ksm_check_read(check, "/proc/sys/vm/unprivileged_userfaultfd");

    if (g_strcmp0(free_for_all, "1") == 0) {
        ksm_check_add(check, KSM_CHECK_OK, "device",
                      "not needed: vm.unprivileged_userfaultfd is 1");
    } else if (acl != NULL ? strstr(acl, DEVICE) != NULL :
                             version >= PASSES_DEVICE) {
        check->device_given = version >= PASSES_DEVICE;
        ksm_check_add(check, KSM_CHECK_OK, "device",
                      "libvirt passes " DEVICE " in");
    } else {
        ksm_check_add(check, KSM_CHECK_WRONG, "device",
                      "libvirt keeps " DEVICE " from QEMU: name it in "
                      "cgroup_device_acl of " QEMU_CONF " "
                      "(contrib/libvirt/qemu.conf) and restart libvirt's "
                      "daemon");
    }
}

static gboolean rule_in(const KsmCheck *check, const char *path)
{
    g_autofree char *text = ksm_check_read(check, path);

    return text != NULL && strstr(text, DEVICE) != NULL;
}

static void check_apparmor(KsmCheck *check)
{
    if (rule_in(check, RULES "/abstractions/libvirt-qemu") ||
        rule_in(check, RULES "/abstractions/libvirt-qemu.d/guest-ksm") ||
        rule_in(check, RULES "/local/abstractions/libvirt-qemu")) {
        ksm_check_add(check, KSM_CHECK_OK, "security",
                      "AppArmor's rules for QEMU have what is needed");
    } else {
        ksm_check_add(check, KSM_CHECK_WRONG, "security",
                      "AppArmor keeps QEMU from it: put "
                      "contrib/libvirt/apparmor.libvirt-qemu into " RULES
                      "/local/abstractions/libvirt-qemu");
    }
}

static void check_security(KsmCheck *check, xmlDoc *capabilities)
{
    if (ksm_domain_doc_find(capabilities, "/capabilities/host/secmodel["
                                          "model = 'apparmor']") != NULL) {
        check_apparmor(check);
    } else if (ksm_domain_doc_find(capabilities,
                                   "/capabilities/host/"
                                   "secmodel[model = 'selinux']") != NULL) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "security",
                      "SELinux: if a domain does not start or share, look "
                      "for denials (ausearch -m avc) of " DEVICE
                      " and of the broker's socket");
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "security",
                      "neither AppArmor nor SELinux confines QEMU");
    }
}

/* "+64055:+64055" */
static char *user_of(xmlDoc *capabilities)
{
    g_autofree char *label = ksm_domain_doc_string(
        capabilities, "/capabilities/host/secmodel[model = 'dac']/baselabel");
    char *colon = label != NULL ? strchr(label, ':') : NULL;

    return colon != NULL ? g_strndup(label, (gsize)(colon - label)) : NULL;
}

static void check_version(KsmCheck *check, gulong version)
{
    g_autofree char *text = g_strdup_printf("%lu.%lu.%lu", version / 1000000,
                                            version / 1000 % 1000,
                                            version % 1000);

    if (version < LEAST) {
        ksm_check_add(check, KSM_CHECK_ADVICE, "libvirt",
                      "%s; only 9.0 and later were tried", text);
    } else {
        ksm_check_add(check, KSM_CHECK_OK, "libvirt", "%s", text);
    }
}

void ksm_check_libvirt(KsmCheck *check)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(virConnect) connect = ksm_virt_open(check->uri, TRUE, &error);
    g_autoptr(xmlDoc) doc = NULL;
    gulong version = 0;
    char *xml;

    if (connect == NULL) {
        ksm_check_add(check,
                      check->uri != NULL ? KSM_CHECK_WRONG : KSM_CHECK_ADVICE,
                      "libvirt", "%s", error->message);
        return;
    }
    virConnectGetLibVersion(connect, &version);
    check_version(check, version);
    xml = virConnectGetCapabilities(connect);
    doc = xml != NULL ? ksm_domain_doc_read(xml) : NULL;
    free(xml);
    if (doc == NULL) {
        return;
    }
    if (!ksm_virt_is_session(connect)) {
        check->found_user = user_of(doc);
        check_device(check, version);
    }
    check_security(check, doc);
}
