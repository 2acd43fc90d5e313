/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test-kin.c: who may come from whom, by a /proc of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/kin.h"

#define SCOPE "/machine.slice/vm.scope"
#define M 100 /* the member */
#define P 200 /* the one asked about */

typedef struct Entry {
    pid_t pid, parent;
    guint64 born;
    const char *name, *cgroup;
    const char *inner; /* its number in a namespace of its own */
} Entry;

static void write_file(const char *dir, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void write_entry(const char *proc, const Entry *entry)
{
    g_autofree char *dir = g_strdup_printf("%s/%d", proc, (int)entry->pid);
    g_autofree char *stat = g_strdup_printf(
        "%d (%s) S %d 9 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %" G_GUINT64_FORMAT
        " 11 12 13\n",
        (int)entry->pid, entry->name, (int)entry->parent, entry->born);
    g_autofree char *status =
        g_strdup_printf("Name:\t%s\nTgid:\t%d\nNSpid:\t%d%s%s\nKthread:\t0\n",
                        entry->name, (int)entry->pid, (int)entry->pid,
                        entry->inner != NULL ? "\t" : "",
                        entry->inner != NULL ? entry->inner : "");
    g_autofree char *cgroup =
        g_strdup_printf("%s%s\n",
                        strchr(entry->cgroup, ':') != NULL ? "" : "0::",
                        entry->cgroup);

    g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
    write_file(dir, "stat", stat);
    write_file(dir, "status", status);
    write_file(dir, "cgroup", cgroup);
}

static void remove_entry(const char *proc, pid_t pid)
{
    static const char *const names[] = { "stat", "status", "cgroup" };
    guint i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%d/%s", proc, (int)pid,
                                                names[i]);

        g_unlink(path);
    }
    {
        g_autofree char *dir = g_strdup_printf("%s/%d", proc, (int)pid);

        g_rmdir(dir);
    }
}

typedef struct Row {
    const char *name;
    KsmKinship kinship; /* of P to M */
    gboolean siblings;  /* may be children, given away */
    Entry entries[8];   /* beside init */
} Row;

static const Entry init = { 1, 0, 0, "systemd", "/init.scope", NULL };

/* clang-format off */
static const Row rows[] = {
    { "child", KSM_KIN_DESCENDANT, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { P, M, 60, "qemu", SCOPE, NULL } } },
    { "grandchild", KSM_KIN_DESCENDANT, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { 150, M, 55, "sh", SCOPE, NULL },
        { P, 150, 60, "x", "/elsewhere.scope", NULL } } },
    { "parent", KSM_KIN_NONE, FALSE, {
        { P, 1, 40, "manager", SCOPE, NULL },
        { M, P, 50, "qemu", SCOPE, NULL } } },
    { "of-one-shell", KSM_KIN_NONE, FALSE, {
        { 90, 1, 40, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 90, 60, "qemu", SCOPE, NULL } } },
    { "of-one-shell-or-given-away", KSM_KIN_MAYBE, TRUE, {
        { 90, 1, 40, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 90, 60, "qemu", SCOPE, NULL } } },
    { "of-one-shell-in-another-scope", KSM_KIN_NONE, TRUE, {
        { 90, 1, 40, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 90, 60, "qemu", "/own.scope", NULL } } },
    { "of-one-shell-and-older", KSM_KIN_NONE, TRUE, {
        { 90, 1, 40, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 90, 45, "qemu", SCOPE, NULL } } },
    { "of-two-shells", KSM_KIN_NONE, FALSE, {
        { 80, 1, 30, "sshd", SCOPE, NULL },
        { 90, 80, 40, "bash", SCOPE, NULL },
        { 91, 80, 41, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 91, 60, "qemu", SCOPE, NULL } } },
    { "orphan", KSM_KIN_MAYBE, FALSE, {
        { 90, 1, 40, "bash", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 1, 60, "x", SCOPE, NULL } } },
    { "child-of-orphan", KSM_KIN_MAYBE, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { 150, 1, 55, "sh", SCOPE, NULL },
        { P, 150, 60, "x", SCOPE, NULL } } },
    { "orphan-at-the-same-tick", KSM_KIN_MAYBE, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { P, 1, 50, "x", SCOPE, NULL } } },
    { "orphan-that-is-older", KSM_KIN_NONE, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { P, 1, 49, "qemu", SCOPE, NULL } } },
    { "younger-child-of-an-older-orphan", KSM_KIN_NONE, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { 90, 1, 40, "bash", SCOPE, NULL },
        { P, 90, 60, "qemu", SCOPE, NULL } } },
    { "orphan-of-another-scope", KSM_KIN_NONE, FALSE, {
        { M, 1, 50, "qemu", SCOPE, NULL },
        { P, 1, 60, "qemu", "/machine.slice/other.scope", NULL } } },
    { "orphan-of-a-thread", KSM_KIN_MAYBE, FALSE, {
        { M, 1, 50, "qemu", SCOPE "/libvirt/emulator", NULL },
        { P, 1, 60, "x", SCOPE "/libvirt/vcpu0", NULL } } },
    { "orphan-of-a-thread-without-scopes", KSM_KIN_MAYBE, FALSE, {
        { M, 1, 50, "qemu", "/machine/qemu-1-vm.libvirt-qemu/emulator", NULL },
        { P, 1, 60, "x", "/machine/qemu-1-vm.libvirt-qemu/vcpu3", NULL } } },
    { "orphan-of-another-vm-without-scopes", KSM_KIN_NONE, FALSE, {
        { M, 1, 50, "qemu", "/machine/qemu-1-vm.libvirt-qemu/emulator", NULL },
        { P, 1, 60, "x", "/machine/qemu-2-vm.libvirt-qemu/vcpu3", NULL } } },
    { "orphan-of-the-user-manager", KSM_KIN_MAYBE, FALSE, {
        { 80, 1, 30, "systemd", "/user.slice/user@7.service/init.scope",
          NULL },
        { M, 80, 50, "qemu", SCOPE, NULL },
        { P, 80, 60, "x", SCOPE, NULL } } },
    { "orphan-in-a-namespace", KSM_KIN_MAYBE, FALSE, {
        { 80, 1, 30, "tini", SCOPE, "1" },
        { M, 80, 50, "qemu", SCOPE, "7" },
        { P, 80, 60, "x", SCOPE, "8" } } },
    /* put into the namespace from outside, as docker exec does */
    { "orphan-of-one-from-outside", KSM_KIN_MAYBE, FALSE, {
        { 70, 1, 20, "shim", SCOPE, NULL },
        { 80, 70, 30, "app", SCOPE, "1" },
        { M, 70, 50, "qemu", SCOPE, "7" },
        { P, 80, 60, "x", SCOPE, "8" } } },
    { "orphan-by-version-1", KSM_KIN_MAYBE, FALSE, {
        { M, 1, 50, "qemu", "5:cpu:/a\n1:name=systemd:" SCOPE "\n0::/",
          NULL },
        { P, 1, 60, "x", "5:cpu:/b\n1:name=systemd:" SCOPE "\n0::/",
          NULL } } },
    { "other-scope-by-version-1", KSM_KIN_NONE, FALSE, {
        { M, 1, 50, "qemu", "5:cpu:/a\n1:name=systemd:" SCOPE "\n0::/",
          NULL },
        { P, 1, 60, "x", "5:cpu:/a\n1:name=systemd:/b.scope\n0::/",
          NULL } } },
    { "name-like-fields", KSM_KIN_DESCENDANT, FALSE, {
        { M, 1, 50, "q) S 1 9 (", SCOPE, NULL },
        { P, M, 60, ") R 1 (", SCOPE, NULL } } },
    { "no-more-than-called-systemd", KSM_KIN_NONE, FALSE, {
        { 90, 1, 40, "systemd-x", SCOPE, NULL },
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 90, 60, "qemu", SCOPE, NULL } } },
    /* whose parent cannot be looked at: nothing is above it for sure */
    { "of-a-hidden-one", KSM_KIN_MAYBE, FALSE, {
        { M, 90, 50, "qemu", SCOPE, NULL },
        { P, 91, 60, "qemu", SCOPE, NULL } } },
};
/* clang-format on */

static char *proc_new(const Row *row)
{
    char *proc = g_dir_make_tmp("ksm-proc-XXXXXX", NULL);
    guint i;

    g_assert_nonnull(proc);
    write_entry(proc, &init);
    for (i = 0; row->entries[i].pid != 0; i++) {
        write_entry(proc, &row->entries[i]);
    }
    return proc;
}

static void proc_free(char *proc, const Row *row)
{
    guint i;

    remove_entry(proc, 1);
    for (i = 0; row->entries[i].pid != 0; i++) {
        remove_entry(proc, row->entries[i].pid);
    }
    g_assert_cmpint(g_rmdir(proc), ==, 0);
    g_free(proc);
}

static void test_row(gconstpointer opaque)
{
    const Row *row = opaque;
    char *proc = proc_new(row);
    g_autoptr(GError) error = NULL;
    g_autoptr(KsmKin) member = ksm_kin_read(proc, M, &error);
    g_autoptr(KsmKin) asked = NULL;
    g_autoptr(GArray) parents = NULL;
    guint64 born;

    g_assert_no_error(error);
    asked = ksm_kin_read(proc, P, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ksm_kin_to(asked, member, NULL, row->siblings), ==,
                    row->kinship);
    if (row->kinship == KSM_KIN_MAYBE) {
        parents = g_array_new(FALSE, FALSE, sizeof(KsmAncestor));
        if (row->siblings) {
            g_assert_false(ksm_kin_is_orphan(asked, parents, &born) &&
                           born >= member->self.born);
            g_array_append_vals(parents, member->ancestors->data, 1);
        }
        g_assert_true(ksm_kin_is_orphan(asked, parents, &born));
        g_assert_cmpuint(born, >=, member->self.born);
    }
    proc_free(proc, row);
}

/* The member was moved to another scope since it named its group. */
static void test_moved(void)
{
    static const Row row = { "moved",
                             KSM_KIN_MAYBE,
                             FALSE,
                             { { M, 1, 50, "qemu", "/shell.scope", NULL },
                               { P, 1, 60, "x", SCOPE, NULL } } };
    char *proc = proc_new(&row);
    g_autoptr(KsmKin) member = ksm_kin_read(proc, M, NULL);
    g_autoptr(KsmKin) asked = ksm_kin_read(proc, P, NULL);

    g_assert_cmpint(ksm_kin_to(asked, member, "/shell.scope", FALSE), ==,
                    KSM_KIN_NONE);
    g_assert_cmpint(ksm_kin_to(asked, member, SCOPE, FALSE), ==, KSM_KIN_MAYBE);
    proc_free(proc, &row);
}

static void assert_not_told(pid_t pid, const Row *row, const char *reason)
{
    char *proc = proc_new(row);
    g_autoptr(GError) error = NULL;

    g_assert_null(ksm_kin_read(proc, pid, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, reason));
    proc_free(proc, row);
}

static void test_not_told(void)
{
    static const Row none = { "none", KSM_KIN_NONE, FALSE, { { 0 } } };
    static const Row ring = { "ring",
                              KSM_KIN_NONE,
                              FALSE,
                              { { P, 201, 60, "x", SCOPE, NULL },
                                { 201, P, 60, "x", SCOPE, NULL } } };

    assert_not_told(P, &none, "/proc is hidden");
    assert_not_told(P, &ring, "its chain of parents");
}

/* This process, by the host's own /proc. */
static void test_own(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(KsmKin) self = ksm_kin_read("/proc", getpid(), &error);
    g_autoptr(KsmKin) child = NULL;
    pid_t pid;

    g_assert_no_error(error);
    g_assert_cmpuint(self->ancestors->len, >, 0);
    g_assert_cmpint(g_array_index(self->ancestors, KsmAncestor, 0).pid, ==,
                    getppid());
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    child = ksm_kin_read("/proc", pid, &error);
    g_assert_no_error(error);
    g_assert_cmpint(ksm_kin_to(child, self, NULL, FALSE), ==,
                    KSM_KIN_DESCENDANT);
    g_assert_cmpint(ksm_kin_to(self, child, NULL, FALSE), ==, KSM_KIN_NONE);
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

int main(int argc, char **argv)
{
    guint i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/kin/", rows[i].name, NULL);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/kin/moved", test_moved);
    g_test_add_func("/kin/not-told", test_not_told);
    g_test_add_func("/kin/own", test_own);
    return g_test_run();
}
