/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.h: asks the broker over its control socket.
 *
 *   g_autoptr(KsmClient) client = ksm_client_new(path);
 *   g_autoptr(JsonObject) reply = ksm_client_ask(client, &error, "sessions",
 *                                     "target", G_TYPE_STRING, name, NULL);
 *
 * The connection can be used for further requests; after it was lost, the
 * next request connects again.  Blocks for some seconds at most.
 */
#ifndef KSM_CTL_CLIENT_H
#define KSM_CTL_CLIENT_H

#include <json-glib/json-glib.h>

#include "base/error.h"

typedef struct KsmClient KsmClient;

/** The default path; free with g_free(). */
char *ksm_client_default_path(void);

/** @path: NULL for the default.  Connects with the first question. */
KsmClient *ksm_client_new(const char *path);
void ksm_client_free(KsmClient *client);

const char *ksm_client_path(const KsmClient *client);

/**
 * Sends {"request": @request, ...} and returns the reply, whose "ok" was true;
 * free with json_object_unref().  Further arguments: name, GType and value of
 * each member (G_TYPE_STRING: const char *, left out when NULL; G_TYPE_INT64:
 * gint64), then NULL.  Else NULL, and an error of KSM_CTL_ERROR that names the
 * socket and the remedy.
 */
JsonObject *ksm_client_ask(KsmClient *client, GError **errp,
                           const char *request, ...) G_GNUC_NULL_TERMINATED;

/** The same for members that were put together by the caller. */
JsonObject *ksm_client_ask_object(KsmClient *client, JsonObject *request,
                                  GError **errp);

/*
 * Members of a reply; a member that is missing or of another kind is 0, NULL
 * or an empty array: a newer or older broker must not crash the program.
 */
gint64 ksm_reply_int(JsonObject *object, const char *name);
/** FALSE when it is not there, or null. */
gboolean ksm_reply_node(JsonObject *object, gint64 *node);
double ksm_reply_double(JsonObject *object, const char *name);
const char *ksm_reply_string(JsonObject *object, const char *name);
/** NULL when it is not there. */
JsonObject *ksm_reply_object(JsonObject *object, const char *name);
/** Its objects; elements of other kinds are left out.  Free the array. */
GPtrArray *ksm_reply_objects(JsonObject *object, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(KsmClient, ksm_client_free)

#endif /* KSM_CTL_CLIENT_H */
