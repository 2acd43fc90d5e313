/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-domain.c: sharing is put into a domain's XML, and removed, without
 * libvirt; what a libvirtd does with it is tested in tests/libvirt.
 */
#include <string.h>

#include "domain/domain-ksm.h"
#include "base/error.h"
#include "domain/line-diff.h"

#define NS " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
#define NEW_LIBVIRT 11003000
#define OLD_LIBVIRT 9000000

/* A domain as libxml2 writes it, with what is special about it. */
static char *domain(const char *attributes, const char *machine,
                    const char *above, const char *devices, const char *below)
{
    return g_strdup_printf("<domain%s type='kvm'>\n"
                           "  <name>web</name>\n"
                           "  <memory unit='KiB'>70001</memory>\n"
                           "%s"
                           "  <os>\n"
                           "    <type arch='x86_64' machine='%s'>hvm</type>\n"
                           "  </os>\n"
                           "  <features>\n"
                           "    <acpi/>\n"
                           "  </features>\n"
                           "  <devices>\n"
                           "    <emulator>/usr/bin/qemu</emulator>\n"
                           "%s"
                           "  </devices>\n"
                           "%s"
                           "</domain>\n",
                           attributes, above, machine, devices, below);
}

static char *plain(void)
{
    return domain("", "pc-q35-10.0", "", "", "");
}

static char *enable(const char *xml, const KsmDomainSettings *settings)
{
    g_autoptr(GError) error = NULL;
    char *text = ksm_domain_enable(xml, settings, &error);

    g_assert_no_error(error);
    g_assert_nonnull(text);
    return text;
}

static void assert_disabled(const char *enabled, const char *want)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = ksm_domain_disable(enabled, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, want);
}

static void test_round_trip(void)
{
    char *rows[] = {
        plain(),
        domain(NS, "pc", "", "",
               "  <qemu:commandline>\n"
               "    <qemu:arg value='-machine'/>\n"
               "    <qemu:arg value='nvdimm=off'/>\n"
               "    <qemu:env name='A' value='it&apos;s &quot;b&quot;'/>\n"
               "  </qemu:commandline>\n"),
        domain(NS, "pc",
               "  <metadata>\n    <x:y xmlns:x='urn:x'/>\n"
               "  </metadata>\n",
               "",
               "  <qemu:capabilities>\n"
               "    <qemu:del capability='no-hpet'/>\n"
               "  </qemu:capabilities>\n"),
        domain("", "pc",
               "  <clock offset='utc'>\n"
               "    <timer name='hpet' present='no'/>\n  </clock>\n",
               "", ""),
    };
    const KsmDomainSettings settings[] = {
        { .group = "a", .libvirt_version = NEW_LIBVIRT },
        { .group = "a", .libvirt_version = OLD_LIBVIRT },
        { .group = "a",
          .emulator = "/opt/qemu",
          .broker = "/run/a,b",
          .libvirt_version = OLD_LIBVIRT },
    };
    const KsmDomainSettings again = { .libvirt_version = OLD_LIBVIRT };
    guint i, j;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *same = ksm_domain_rewrite(rows[i], NULL);

        g_assert_cmpstr(same, ==, rows[i]);
        for (j = 0; j < G_N_ELEMENTS(settings); j++) {
            g_autofree char *one = enable(rows[i], &settings[j]);
            g_autofree char *two = enable(one, &settings[j]);

            g_assert_cmpstr(one, !=, rows[i]);
            g_assert_cmpstr(two, ==, one);
            assert_disabled(one, rows[i]);
        }
        {
            g_autofree char *one = enable(rows[i], &settings[2]);
            g_autofree char *two = enable(one, &again);

            g_assert_cmpstr(two, ==, one);
        }
        assert_disabled(rows[i], rows[i]);
    }
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_free(rows[i]);
    }
}

static void test_what_is_written(void)
{
    g_autofree char *xml =
        domain("", "pc",
               "  <clock offset='utc'>\n"
               "    <timer name='hpet' present='no'/>\n  </clock>\n",
               "", "");
    const KsmDomainSettings settings = {
        .group = "web",
        .broker = "/run/a,b",
        .emulator = "/opt/qemu",
        .libvirt_version = OLD_LIBVIRT,
    };
    g_autofree char *text = enable(xml, &settings);
    g_autoptr(KsmDomainState) state = ksm_domain_inspect(text, NULL);

    g_assert_nonnull(
        strstr(text,
               "  <qemu:commandline>\n"
               "    <qemu:arg value='-object'/>\n"
               "    <qemu:arg value='memory-backend-ksm,id=ksm0,size=72351744,"
               "group=web,broker=/run/a,,b,ram-id=pc.ram'/>\n"
               "    <qemu:arg value='-machine'/>\n"
               "    <qemu:arg value='memory-backend=ksm0,hpet=off'/>\n"
               "  </qemu:commandline>\n"
               "  <qemu:capabilities>\n"
               "    <qemu:del capability='no-hpet'/>\n"
               "  </qemu:capabilities>\n"
               "</domain>\n"));
    g_assert_nonnull(strstr(text, "    <emulator>/opt/qemu</emulator>\n"));
    g_assert_true(state->enabled);
    g_assert_cmpstr(ksm_opts_get(state->backend, "broker"), ==, "/run/a,b");
    g_assert_cmpstr(state->emulator, ==, "/opt/qemu");
    g_assert_cmpstr(state->emulator_before, ==, "/usr/bin/qemu");
}

/* Somebody chose another emulator: that one stays. */
static void test_emulator_chosen_since(void)
{
    g_autofree char *xml = plain();
    const KsmDomainSettings settings = {
        .group = "web",
        .emulator = "/opt/qemu",
        .libvirt_version = NEW_LIBVIRT,
    };
    g_autofree char *text = enable(xml, &settings);
    g_auto(GStrv) parts = g_strsplit(text, "<emulator>/opt/qemu<", 2);
    g_autofree char *changed = g_strjoinv("<emulator>/mine<", parts);
    g_autofree char *disabled = ksm_domain_disable(changed, NULL);

    g_assert_nonnull(strstr(disabled, "<emulator>/mine</emulator>"));
    g_assert_null(strstr(disabled, "guest-ksm"));
}

static void test_refusals(void)
{
    static const struct {
        const char *machine, *above, *devices, *reason;
    } rows[] = {
        { "microvm", "", "", "none of pc and q35" },
        { "isapc", "", "", "none of pc and q35" },
        { "pc", "  <cpu><numa><cell id='0'/></numa></cpu>\n", "",
          "NUMA cells" },
        { "pc", "  <maxMemory slots='2' unit='KiB'>1</maxMemory>\n", "",
          "memory devices" },
        { "pc", "", "<memory model='dimm'/>", "memory devices" },
        { "pc", "", "<memory model='virtio-mem'/>", "memory devices" },
        { "pc", "  <numatune><memory mode='strict' nodeset='0'/></numatune>\n",
          "", "bound to NUMA nodes" },
        { "pc", "<memoryBacking><hugepages/></memoryBacking>", "",
          "huge pages" },
        { "pc", "<memoryBacking><locked/></memoryBacking>", "", "is locked" },
        { "pc", "<memoryBacking><nosharepages/></memoryBacking>", "",
          "<nosharepages>" },
        { "pc", "<memoryBacking><access mode='shared'/></memoryBacking>", "",
          "<access mode='shared'>" },
        { "pc", "<memoryBacking><source type='memfd'/></memoryBacking>", "",
          "a file or memfd" },
        { "pc", "<memoryBacking><source type='file'/></memoryBacking>", "",
          "a file or memfd" },
        { "pc", "<memoryBacking><allocation mode='immediate'/></memoryBacking>",
          "", "allocated at the start" },
        { "pc", "", "<interface type='vhostuser'/>", "vhost-user device" },
        { "pc", "", "<disk type='vhostuser'/>", "vhost-user device" },
        { "pc", "", "<video><driver name='vhostuser'/></video>",
          "vhost-user device" },
        { "pc", "",
          "<filesystem type='mount'><driver type='virtiofs'/>"
          "</filesystem>",
          "virtiofs" },
        { "pc", "", "<hostdev mode='subsystem' type='pci'/>",
          "a device of the host" },
        { "pc", "", "<interface type='vdpa'/>", "a device of the host" },
        { "pc", "", "<disk type='nvme'/>", "a device of the host" },
        { "pc", "", "<hostdev mode='subsystem' type='scsi_host'/>",
          "vhost-scsi" },
        { "pc", "<launchSecurity type='sev'/>", "", "a confidential guest" },
    };
    const KsmDomainSettings settings = { .group = "web" };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = domain("", rows[i].machine, rows[i].above,
                                      rows[i].devices, "");
        g_autoptr(GError) error = NULL;

        g_assert_null(ksm_domain_enable(xml, &settings, &error));
        g_assert_error(error, KSM_CTL_ERROR, KSM_CTL_FAILED);
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, rows[i].reason));
    }
}

/* What is near to a refusal and none. */
static void test_not_refused(void)
{
    static const char *const rows[] = {
        "  <memoryBacking><source type='anonymous'/></memoryBacking>\n",
        "  <memoryBacking><access mode='private'/></memoryBacking>\n",
        "  <numatune><memory mode='restrictive' nodeset='0'/></numatune>\n",
    };
    const KsmDomainSettings settings = { .group = "web" };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = domain("", "pc", rows[i],
                                      "<hostdev mode='subsystem' type='usb'/>",
                                      "");
        g_autofree char *text = enable(xml, &settings);

        assert_disabled(text, xml);
    }
}

#define BOUND(mode, nodes) \
    "  <numatune>\n    <memory mode='" mode "' nodeset='" nodes "'/>\n" \
    "  </numatune>\n"

/* The node is <numatune>'s, and goes with merge-across-nodes=off only. */
static void test_node(void)
{
    static const struct {
        const char *above, *across;
        const char *ends; /* of the object; NULL: it is refused */
        KsmCtlStatus code;
        const char *reason;
    } rows[] = {
        { "", "on", "ram-id=pc.ram,merge-across-nodes=on'/>", 0, NULL },
        { BOUND("strict", "1"), "off",
          "ram-id=pc.ram,merge-across-nodes=off,"
          "host-nodes=1,policy=bind'/>",
          0, NULL },
        { BOUND("preferred", "12"), "off",
          "ram-id=pc.ram,"
          "merge-across-nodes=off,host-nodes=12,policy=preferred'/>",
          0, NULL },
        { BOUND("strict", "0"), "on", NULL, KSM_CTL_FAILED,
          "--set merge-across-nodes=off" },
        { "", "off", NULL, KSM_CTL_FAILED, "not bound to one" },
        { BOUND("strict", "0-1"), "off", NULL, KSM_CTL_FAILED,
          "not bound to one" },
        { BOUND("strict", "0,2"), "off", NULL, KSM_CTL_FAILED,
          "not bound to one" },
        { BOUND("strict", ""), "off", NULL, KSM_CTL_FAILED,
          "not bound to one" },
        { BOUND("interleave", "0"), "off", NULL, KSM_CTL_FAILED,
          "not bound to one" },
        { BOUND("restrictive", "0"), "off", NULL, KSM_CTL_FAILED,
          "not bound to one" },
        { "  <numatune><memory mode='strict' placement='auto'/></numatune>\n",
          "off", NULL, KSM_CTL_FAILED, "not bound to one" },
        { BOUND("strict", "0"), "no", NULL, KSM_CTL_USAGE, "use on or off" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *xml = domain("", "pc", rows[i].above, "", "");
        g_autofree char *set = g_strdup_printf("merge-across-nodes=%s",
                                               rows[i].across);
        char *properties[] = { set, NULL };
        const KsmDomainSettings settings = {
            .group = "web",
            .properties = properties,
            .libvirt_version = NEW_LIBVIRT,
        };
        g_autoptr(GError) error = NULL;
        g_autofree char *text = ksm_domain_enable(xml, &settings, &error);

        if (rows[i].ends != NULL) {
            g_assert_no_error(error);
            g_assert_nonnull(strstr(text, rows[i].ends));
            assert_disabled(text, xml);
        } else {
            g_assert_null(text);
            g_assert_error(error, KSM_CTL_ERROR, (int)rows[i].code);
            g_test_message("%s", error->message);
            g_assert_nonnull(strstr(error->message, rows[i].reason));
        }
    }
}

/* Enabling again takes over another node, and that there is none any more. */
static void test_node_again(void)
{
    char *off[] = { (char *)"merge-across-nodes=off", (char *)"keep-huge=64",
                    NULL };
    char *on[] = { (char *)"merge-across-nodes=on", NULL };
    const KsmDomainSettings first = { .group = "web", .properties = off };
    const KsmDomainSettings as_it_is = { .group = NULL };
    const KsmDomainSettings last = { .properties = on };
    g_autofree char *xml = domain("", "pc", BOUND("strict", "0"), "", "");
    g_autofree char *one = enable(xml, &first);
    g_auto(GStrv) parts = g_strsplit(one, "mode='strict' nodeset='0'", 2);
    g_autofree char *moved = g_strjoinv("mode='preferred' nodeset='1'", parts);
    g_autofree char *two = enable(moved, &as_it_is);
    g_auto(GStrv) moved_parts = g_strsplit(two, BOUND("preferred", "1"), 2);
    g_autofree char *freed = g_strjoinv("", moved_parts);
    g_autofree char *three = enable(freed, &last);

    g_assert_nonnull(strstr(one, ",merge-across-nodes=off,keep-huge=64,"
                                 "host-nodes=0,policy=bind'/>"));
    g_assert_nonnull(strstr(two, ",merge-across-nodes=off,keep-huge=64,"
                                 "host-nodes=1,policy=preferred'/>"));
    g_assert_null(ksm_domain_enable(freed, &as_it_is, NULL));
    g_assert_nonnull(strstr(three, ",merge-across-nodes=on,keep-huge=64'/>"));
}

static void test_no_domain(void)
{
    static const char *const rows[] = { "", "<", "<network/>", "domain" };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(ksm_domain_disable(rows[i], &error));
        g_assert_error(error, KSM_CTL_ERROR, KSM_CTL_FAILED);
    }
}

static void test_diff(void)
{
    static const struct {
        const char *before, *after, *diff;
    } rows[] = {
        { "a\nb\n", "a\nb\n", "" },
        { "", "a\n", "@@ -1,0 +1,1 @@\n+a\n" },
        { "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
          "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n" },
        { "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n",
          "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n"
          "@@ -6,4 +7,3 @@\n 6\n 7\n 8\n-9\n" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *diff = ksm_line_diff(rows[i].before, rows[i].after);

        g_assert_cmpstr(diff, ==, rows[i].diff);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/domain/round-trip", test_round_trip);
    g_test_add_func("/domain/what-is-written", test_what_is_written);
    g_test_add_func("/domain/emulator", test_emulator_chosen_since);
    g_test_add_func("/domain/refusals", test_refusals);
    g_test_add_func("/domain/not-refused", test_not_refused);
    g_test_add_func("/domain/node", test_node);
    g_test_add_func("/domain/node-again", test_node_again);
    g_test_add_func("/domain/no-domain", test_no_domain);
    g_test_add_func("/domain/diff", test_diff);
    return g_test_run();
}
