/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ctl-fixture.c: a broker, some engines, and ways to ask on the socket. */
#include "ctl-fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "require.h"
#include "zero-page.h"

#define TIMEOUT_SECONDS 20

char *ctl_fixture_socket(KsmTestBroker *broker)
{
    return g_build_filename(broker->dir, "control.sock", NULL);
}

int ctl_fixture_connect(KsmTestBroker *broker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval timeout = { .tv_sec = TIMEOUT_SECONDS };
    g_autofree char *path = ctl_fixture_socket(broker);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void ctl_fixture_send(int fd, const char *text, gsize bytes)
{
    while (bytes > 0) {
        gssize n = send(fd, text, bytes, MSG_NOSIGNAL);

        if (n <= 0) {
            return;
        }
        text += n;
        bytes -= (gsize)n;
    }
}

char *ctl_fixture_receive(int fd)
{
    GString *line = g_string_new(NULL);
    char part[4096];

    for (;;) {
        gssize n = recv(fd, part, sizeof(part), 0);

        if (n < 0 && errno == EAGAIN) {
            g_error("no reply within %d s", TIMEOUT_SECONDS);
        }
        if (n <= 0) {
            g_string_free(line, TRUE);
            return NULL;
        }
        g_string_append_len(line, part, n);
        if (line->str[line->len - 1] == '\n') {
            g_string_truncate(line, line->len - 1);
            return g_string_free(line, FALSE);
        }
    }
}

static gboolean listens(gpointer opaque)
{
    int fd = ctl_fixture_connect(opaque);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* The broker's own socket is there a moment before the one for control. */
static void wait_for_control(KsmTestBroker *broker)
{
    if (ksm_test_wait(listens, broker, TIMEOUT_SECONDS) < 0) {
        g_error("no control socket within %d s", TIMEOUT_SECONDS);
    }
}

JsonObject *ctl_fixture_ask(KsmTestBroker *broker, const char *request)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) error = NULL;
    g_autofree char *line = g_strconcat(request, "\n", NULL);
    g_autofree char *reply = NULL;
    int fd;

    wait_for_control(broker);
    fd = ctl_fixture_connect(broker);
    g_assert_cmpint(fd, >=, 0);
    ctl_fixture_send(fd, line, strlen(line));
    reply = ctl_fixture_receive(fd);
    close(fd);
    if (reply == NULL) {
        g_error("no reply to %s", request);
    }
    json_parser_load_from_data(parser, reply, -1, &error);
    g_assert_no_error(error);
    return json_node_dup_object(json_parser_get_root(parser));
}

char *ctl_fixture_ask_error(KsmTestBroker *broker, const char *request)
{
    g_autoptr(JsonObject) reply = ctl_fixture_ask(broker, request);
    JsonObject *error;

    if (json_object_get_boolean_member(reply, "ok")) {
        g_error("%s was not refused", request);
    }
    error = json_object_get_object_member(reply, "error");
    g_assert_cmpuint(strlen(json_object_get_string_member(error, "message")), >,
                     0);
    return g_strdup(json_object_get_string_member(error, "code"));
}

JsonObject *ctl_fixture_session(KsmTestBroker *broker, const char *name)
{
    g_autoptr(JsonObject) reply = ctl_fixture_ask(broker,
                                                  "{\"request\":\"sessions\"}");
    JsonArray *sessions = json_object_get_array_member(reply, "sessions");
    guint i;

    for (i = 0; i < json_array_get_length(sessions); i++) {
        JsonObject *session = json_array_get_object_element(sessions, i);

        if (strcmp(json_object_get_string_member(session, "name"), name) == 0) {
            return json_object_ref(session);
        }
    }
    return NULL;
}

typedef struct Expected {
    KsmTestBroker *broker;
    const char *name, *field, *value;
} Expected;

static gboolean field_is(gpointer opaque)
{
    const Expected *expected = opaque;
    g_autoptr(JsonObject) session = ctl_fixture_session(expected->broker,
                                                        expected->name);

    return session != NULL &&
           g_strcmp0(json_object_get_string_member(session, expected->field),
                     expected->value) == 0;
}

void ctl_fixture_wait(KsmTestBroker *broker, const char *name,
                      const char *field, const char *value)
{
    Expected expected = { broker, name, field, value };

    if (ksm_test_wait(field_is, &expected, TIMEOUT_SECONDS) < 0) {
        g_error("%s: %s has not become %s", name, field, value);
    }
}

void ctl_fixture_assert_int(JsonObject *object, const char *field, gint64 value)
{
    gint64 got = json_object_get_int_member(object, field);

    if (got != value) {
        g_error("%s is %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT, field, got,
                value);
    }
}

KsmRemote *ctl_fixture_remote(KsmTestBroker *broker, const char *name,
                              const char *group)
{
    KsmRemoteSpec spec = {
        .socket = broker->socket,
        .group = group,
        .name = name,
        .pages = CTL_SCENE_PAGES,
    };

    return ksm_remote_new(&spec);
}

guint ctl_pair_sharing(void)
{
    return CTL_PAIR_SHARED + CTL_PAIR_ZEROS - ctl_pair_zeros();
}

guint ctl_pair_zeros(void)
{
    return ksm_test_has_zero_page() ? CTL_PAIR_ZEROS : 0;
}

guint ctl_pair_slots(void)
{
    const guint tile = 64; /* of zeros */

    return CTL_PAIR_SHARED + (ctl_pair_zeros() ? 0 : tile);
}

gboolean ctl_pair_open(CtlPair *pair)
{
    guint i;

    if (!ksm_test_need_uffd()) {
        return FALSE;
    }
    pair->broker = ksm_test_broker_new(NULL);
    pair->vms[0] = ctl_fixture_remote(pair->broker, "one/ram0", "web");
    pair->vms[1] = ctl_fixture_remote(pair->broker, "two/ram0", "web");
    for (i = 0; i < 2; i++) {
        ksm_remote_fill(pair->vms[i], 0, CTL_PAIR_SHARED, KSM_TEST_SEEDED, 7,
                        TRUE);
        ksm_remote_fill(pair->vms[i], CTL_PAIR_SHARED, CTL_PAIR_ZEROS,
                        KSM_TEST_ZERO, 0, FALSE);
    }
    return TRUE;
}

void ctl_pair_share(CtlPair *pair)
{
    const guint all = 2 * (CTL_PAIR_SHARED + CTL_PAIR_ZEROS);

    g_assert_cmpuint(ksm_remotes_settle(pair->vms, 2, all, 30), ==, all);
    ksm_remote_set_run(pair->vms[0], KSM_RUN_PAUSE);
    ksm_remote_set_run(pair->vms[1], KSM_RUN_PAUSE);
    ctl_fixture_wait(pair->broker, "one/ram0", "state", "paused");
    ctl_fixture_wait(pair->broker, "two/ram0", "state", "paused");
}

void ctl_pair_close(CtlPair *pair)
{
    guint i;

    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(ksm_remote_check(pair->vms[i], 0, CTL_PAIR_SHARED,
                                          KSM_TEST_SEEDED, 7, TRUE),
                         ==, 0);
        ksm_remote_free(pair->vms[i]);
    }
    g_assert_true(ksm_test_broker_stop(pair->broker));
    ksm_test_broker_free(pair->broker);
}
