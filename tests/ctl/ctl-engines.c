/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl-engines.c: a broker and engines for tests that are not written in C.
 *
 * Reads commands as lines on its standard input, and answers each with a line:
 * "ok" and numbers.  Says "ready SOCKET BROKER-PID" first, or "lacks REASON"
 * where the machine cannot do it.  Ends, with all it started, at the end of its
 * input.
 *
 *   remote NAME GROUP PAGES [NODE] ok NUMBER PID
 *   fill NUMBER FIRST COUNT KIND SEED EACH
 *   settle PAGES                   ok PAGES  (all share, or 30 s have passed)
 *   state NUMBER                   ok SHARING ZERO BROKEN UNSHARED VOLATILE
 *   broker stop | start            ok PID
 *   free NUMBER
 *   zero-page                      ok 1 | 0  (whether the host has one)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker-proc.h"
#include "remote-engine.h"
#include "require.h"
#include "zero-page.h"

#define REMOTES_MAX 64u
#define SETTLE_SECONDS 30.0

static KsmTestBroker *broker;
static KsmRemote *remotes[REMOTES_MAX];
static guint count;

static guint64 number(char **words, guint index)
{
    guint64 value = 0;

    if (index >= g_strv_length(words) ||
        !g_ascii_string_to_unsigned(words[index], 10, 0, G_MAXUINT64, &value,
                                    NULL)) {
        g_error("%s: argument %u is no number", words[0], index);
    }
    return value;
}

static KsmRemote *remote_of(char **words)
{
    guint64 index = number(words, 1);

    if (index >= count || remotes[index] == NULL) {
        g_error("%s: there is no remote %s", words[0], words[1]);
    }
    return remotes[index];
}

static void do_remote(char **words)
{
    KsmRemoteSpec spec = {
        .socket = broker->socket,
        .pages = number(words, 3),
        .name = words[1],
        .group = words[2],
        .on_node = words[4] != NULL,
    };

    g_assert_cmpuint(count, <, REMOTES_MAX);
    if (spec.on_node) {
        spec.node = (int)number(words, 4);
    }
    remotes[count] = ksm_remote_new(&spec);
    printf("ok %u %d\n", count, ksm_remote_pid(remotes[count]));
    count++;
}

static void do_fill(char **words)
{
    ksm_remote_fill(remote_of(words), number(words, 2), number(words, 3),
                    (KsmTestKind)number(words, 4), number(words, 5),
                    number(words, 6) != 0);
    printf("ok\n");
}

static void do_settle(char **words)
{
    printf("ok %" G_GUINT64_FORMAT "\n",
           ksm_remotes_settle(remotes, count, number(words, 1),
                              SETTLE_SECONDS));
}

static void do_state(char **words)
{
    KsmRemoteState state;
    const KsmStats *stats = &state.stats;

    ksm_remote_state(remote_of(words), &state);
    printf("ok %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
           " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
           stats->pages_sharing, stats->zero_pages, stats->pages_broken,
           stats->pages_unshared, stats->pages_volatile);
}

static void do_broker(char **words)
{
    if (g_strcmp0(words[1], "stop") == 0) {
        g_assert_true(ksm_test_broker_stop(broker));
    } else {
        ksm_test_broker_start(broker);
    }
    printf("ok %d\n", (int)broker->pid);
}

static void do_free(char **words)
{
    ksm_remote_free(remote_of(words));
    remotes[number(words, 1)] = NULL;
    printf("ok\n");
}

static void do_zero_page(char **words)
{
    (void)words;
    printf("ok %d\n", ksm_test_has_zero_page());
}

static void obey(const char *line)
{
    static const struct {
        const char *name;
        void (*act)(char **words);
    } orders[] = {
        { "remote", do_remote },       { "fill", do_fill },
        { "settle", do_settle },       { "state", do_state },
        { "broker", do_broker },       { "free", do_free },
        { "zero-page", do_zero_page },
    };
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    guint i;

    for (i = 0; i < G_N_ELEMENTS(orders); i++) {
        if (g_strcmp0(words[0], orders[i].name) == 0) {
            orders[i].act(words);
            return;
        }
    }
    g_error("no such order: %s", line);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    char line[256];
    guint i;

    ksm_remote_main(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!ksm_check_requirements(&error)) {
        printf("lacks %s\n", error->message);
        return 0;
    }
    broker = ksm_test_broker_new(NULL);
    printf("ready %s/control.sock %d\n", broker->dir, (int)broker->pid);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        obey(g_strchomp(line));
    }
    for (i = 0; i < count; i++) {
        if (remotes[i] != NULL) {
            ksm_remote_free(remotes[i]);
        }
    }
    ksm_test_broker_free(broker);
    return 0;
}
