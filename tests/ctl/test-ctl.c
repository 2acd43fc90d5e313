/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-ctl.c: guest-ksmctl as it is run: output, exit status, errors. */
#include <glib/gstdio.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl-fixture.h"
#include "require.h"

/* What the program's process does first, when it is not NULL. */
static GSpawnChildSetupFunc child_setup;
/* Instead of the program as it was built, when it is not NULL. */
static const char *program;

/* Runs it with arguments given by spaces; the exit status. */
static int ctl(KsmTestBroker *broker, const char *arguments, char **out,
               char **err)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) words = g_strsplit(arguments, " ", -1);
    g_autoptr(GError) error = NULL;
    int status = 0, i;

    g_assert_nonnull(g_getenv("GUEST_KSMCTL"));
    g_ptr_array_add(argv,
                    g_strdup(program ? program : g_getenv("GUEST_KSMCTL")));
    if (broker) {
        g_ptr_array_add(argv, g_strdup("--socket"));
        g_ptr_array_add(argv, ctl_fixture_socket(broker));
    }
    for (i = 0; words[i] != NULL; i++) {
        g_ptr_array_add(argv, g_strdup(words[i]));
    }
    g_ptr_array_add(argv, NULL);
    g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_DEFAULT, child_setup,
                 NULL, out, err, &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Runs it and expects a status, and words in what it prints. */
static void expect(KsmTestBroker *broker, const char *arguments, int status,
                   const char *out_words, const char *err_words)
{
    g_autofree char *out = NULL, *err = NULL;
    int got = ctl(broker, arguments, &out, &err);

    g_test_message("guest-ksmctl %s: status %d\n%s%s", arguments, got, out,
                   err);
    g_assert_cmpint(got, ==, status);
    if (out_words) {
        g_assert_nonnull(strstr(out, out_words));
    }
    if (err_words) {
        g_assert_nonnull(strstr(err, err_words));
    } else {
        g_assert_cmpstr(err, ==, "");
    }
}

static double mib(guint pages)
{
    return pages / 256.0;
}

static void test_show(void)
{
    const guint all = CTL_PAIR_SHARED + CTL_PAIR_ZEROS;
    g_autofree char *saved = NULL, *row = NULL, *sharing = NULL;
    g_autofree char *member = NULL;
    CtlPair fixture;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    saved = g_strdup_printf("saved       %.1f MiB of the 4.0 MiB of 2 VMs: "
                            "%.1f sharing %.1f, and %.1f of zeros",
                            mib(2 * all - ctl_pair_slots()),
                            mib(2 * ctl_pair_sharing()), mib(ctl_pair_slots()),
                            mib(2 * ctl_pair_zeros()));
    row = g_strdup_printf("2.0      %.1f   %.1f     0.0       0.0    %.1f",
                          mib(ctl_pair_sharing()), mib(ctl_pair_zeros()),
                          mib(all - ctl_pair_slots() / 2));
    sharing = g_strdup_printf("pages_sharing            %u",
                              ctl_pair_sharing());
    member = g_strdup_printf("\"pages_sharing\" : %u", ctl_pair_sharing());
    expect(fixture.broker, "status", 0, saved, NULL);
    expect(fixture.broker, "status", 0, "worst case  3.1 MiB", NULL);
    expect(fixture.broker, "status --json", 0, "\"worst_case_pages\" : 800",
           NULL);
    expect(fixture.broker, "vms", 0, row, NULL);
    expect(fixture.broker, "vms two", 0, "two", NULL);
    expect(fixture.broker, "vms --json", 0, "\"vm\" : \"one\"", NULL);
    expect(fixture.broker, "vm one", 0, sharing, NULL);
    expect(fixture.broker, "vm one", 0, "state     paused", NULL);
    expect(fixture.broker, "--json vm one/ram0", 0, member, NULL);
    ctl_pair_close(&fixture);
}

static void test_order(void)
{
    CtlPair fixture;

    if (!ctl_pair_open(&fixture)) {
        return;
    }
    ctl_pair_share(&fixture);
    expect(fixture.broker, "run one", 0, "one/ram0 (group web, process ", NULL);
    ctl_fixture_wait(fixture.broker, "one/ram0", "run", "run");
    ctl_fixture_wait(fixture.broker, "two/ram0", "run", "pause");
    expect(fixture.broker, "run --all", 0, "two/ram0", NULL);
    ctl_fixture_wait(fixture.broker, "two/ram0", "run", "run");
    expect(fixture.broker, "pause web", 0, "two/ram0", NULL);
    ctl_fixture_wait(fixture.broker, "two/ram0", "run", "pause");
    expect(fixture.broker,
           "set one scan-interval=2000 scan-cpu-percent=7 "
           "max-mappings=900",
           0, "done", NULL);
    expect(fixture.broker, "vm one", 0, "scan-cpu-percent 7", NULL);
    expect(fixture.broker, "vm one", 0, "scan-interval 2000", NULL);
    expect(fixture.broker, "set one scan-interval=2", 1, "failed",
           "scan-interval must be between 10 and 3600000 ms, not 2");
    expect(fixture.broker, "set --json all run=run", 0, "\"result\" : \"done\"",
           NULL);
    expect(fixture.broker, "unmerge one two", 0, "two/ram0", NULL);
    ctl_fixture_wait(fixture.broker, "one/ram0", "state", "unmerged");
    ctl_fixture_wait(fixture.broker, "two/ram0", "state", "unmerged");
    expect(fixture.broker, "status", 0, "0.0 sharing 0.0", NULL);
    kill(ksm_remote_pid(fixture.vms[0]), SIGSTOP);
    expect(fixture.broker, "pause --all", 6, "pending",
           "1 of 2 did not confirm in time");
    kill(ksm_remote_pid(fixture.vms[0]), SIGCONT);
    ctl_pair_close(&fixture);
}

/* Wrong command lines need no broker. */
static void test_usage(void)
{
    static const struct {
        const char *arguments;
        int status;
        const char *out, *err;
    } rows[] = {
        { "--help", 0, "Exit status:", NULL },
        { "vm --help", 0, "All that is known about one VM", NULL },
        { "--version", 0, "guest-ksmctl ", NULL },
        { "frobnicate", 2, NULL, "no command 'frobnicate'" },
        { "--frobnicate", 2, NULL, "--frobnicate" },
        { "status --frobnicate", 2, NULL, "--frobnicate" },
        { "status one", 2, NULL, "usage: guest-ksmctl status" },
        { "vm", 2, NULL, "usage: guest-ksmctl vm VM" },
        { "vm one two", 2, NULL, "usage: guest-ksmctl vm VM" },
        { "pause", 2, NULL, "usage: guest-ksmctl pause" },
        { "pause one --all", 2, NULL, "usage: guest-ksmctl pause" },
        { "set one", 2, NULL, "usage: guest-ksmctl set" },
        { "set one two", 2, NULL, "'two' is not KEY=VALUE" },
        { "set one x=1", 2, NULL, "no option 'x'" },
        { "set one run=stop", 2, NULL, "use run, pause or unmerge" },
        { "set one scan-interval=fast", 2, NULL, "not a whole number" },
        { "set one scan-interval=-1", 2, NULL, "not a whole number" },
        { "--socket /nowhere/c.sock status", 3, NULL,
          "no broker listens on /nowhere/c.sock" },
    };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        expect(NULL, rows[i].arguments, rows[i].status, rows[i].out,
               rows[i].err);
    }
}

static void test_names(void)
{
    g_autoptr(KsmTestBroker) broker = ksm_test_broker_new(NULL);
    g_autofree char *path = ctl_fixture_socket(broker);

    expect(broker, "status", 0, "0 VMs", NULL);
    expect(broker, "vms", 0, "STATE", NULL);
    expect(broker, "pause --all", 0, "", NULL);
    expect(broker, "vm nobody", 5, NULL, "there is no VM 'nobody'");
    expect(broker, "vms nobody", 5, NULL, path);
    expect(broker, "pause nobody", 5, NULL, "guest-ksmctl vms lists");
    expect(broker, "run group:nobody", 5, NULL, "no group 'nobody'");
    ksm_test_broker_kill(broker);
    expect(broker, "status", 3, NULL, "is guest-ksmd running");
}

static void become_nobody(gpointer unused)
{
    (void)unused;
    if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
        _exit(99);
    }
}

/* A copy of the program where everybody may run it. */
static char *copy_program(const char *dir)
{
    char *path = g_build_filename(dir, "guest-ksmctl", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gsize bytes;

    g_file_get_contents(g_getenv("GUEST_KSMCTL"), &text, &bytes, &error);
    g_assert_no_error(error);
    g_file_set_contents(path, text, (gssize)bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_chmod(path, 0755), ==, 0);
    return path;
}

static void test_permission(void)
{
    g_autoptr(KsmTestBroker) broker = NULL;
    g_autofree char *path = NULL, *copy = NULL;

    if (geteuid() != 0) {
        g_test_skip("needs root, to become another user");
        return;
    }
    broker = ksm_test_broker_new(NULL);
    path = ctl_fixture_socket(broker);
    g_assert_cmpint(g_chmod(broker->dir, 0755), ==, 0);
    copy = copy_program(broker->dir);
    program = copy;
    child_setup = become_nobody;
    expect(broker, "status", 4, NULL, "not allowed to use the control socket");
    g_assert_cmpint(g_chmod(path, 0666), ==, 0);
    expect(broker, "status", 4, NULL,
           "only accepts requests from root, its own user");
    child_setup = NULL;
    program = NULL;
    expect(broker, "status", 0, "0 VMs", NULL);
    g_unlink(copy);
}

int main(int argc, char **argv)
{
    ksm_remote_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ctl/usage", test_usage);
    g_test_add_func("/ctl/names", test_names);
    g_test_add_func("/ctl/permission", test_permission);
    g_test_add_func("/ctl/show", test_show);
    g_test_add_func("/ctl/order", test_order);
    return g_test_run();
}
