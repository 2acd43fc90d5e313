/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.c: the names of VMs and groups as users see them. */
#include "clients/names.h"

#include <string.h>

char *ksm_names_vm(const KsmSession *session)
{
    const char *slash = strrchr(session->name, '/');

    return slash != NULL && slash > session->name ?
               g_strndup(session->name, (gsize)(slash - session->name)) :
               g_strdup(session->name);
}

const char *ksm_names_group(const char *family)
{
    const char *colon = strchr(family, ':');

    return colon != NULL ? colon + 1 : family;
}
