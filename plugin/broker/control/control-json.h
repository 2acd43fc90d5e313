/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control-json.h: writes JSON into a string, without a tree of values. */
#ifndef KSM_CONTROL_JSON_H
#define KSM_CONTROL_JSON_H

#include <glib.h>

/** Names are string literals of this program; NULL inside arrays. */
typedef struct KsmJson {
    GString *text;
    gboolean comma; /* the next value needs a comma before it */
} KsmJson;

/** Opens with '{' or '['; closes with '}' or ']'. */
void ksm_json_open(KsmJson *json, const char *name, char bracket);
void ksm_json_close(KsmJson *json, char bracket);

void ksm_json_uint(KsmJson *json, const char *name, guint64 value);
void ksm_json_int(KsmJson *json, const char *name, gint64 value);
void ksm_json_bool(KsmJson *json, const char *name, gboolean value);

/** Writes @value hundredths as a number with two decimals. */
void ksm_json_centi(KsmJson *json, const char *name, guint64 value);

/** NULL gives null; characters other than printable ASCII become '?'. */
void ksm_json_string(KsmJson *json, const char *name, const char *value);

#endif /* KSM_CONTROL_JSON_H */
