/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd-top.c: `guest-ksmctl top`: the VMs, live. */
#include "base/command.h"
#include "domain/domain-target.h"
#include "top/top-model.h"
#include "top/top-screen.h"

#define MIN_SECONDS 0.1
#define MAX_SECONDS 3600.0

static double interval_s = 1;
static char *sort_name;

static const GOptionEntry entries[] = {
    { "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval_s,
      "Time between two updates (1)", "SECONDS" },
    { "sort", 'k', 0, G_OPTION_ARG_STRING, &sort_name,
      "Sort by vm, group, memory, private, shared, zero, broken, saved "
      "(default), cpu, merges, breaks or state",
      "COLUMN" },
    KSM_DOMAIN_TARGET_ENTRIES { NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL,
                                NULL },
};

/* The next column to the left or right, around the ends. */
static void move_sort(KsmTop *top, int step)
{
    guint count = 0;

    while (ksm_top_columns[count].heading != NULL) {
        count++;
    }
    top->sort = (top->sort + count + (guint)step) % count;
    ksm_top_sort(top);
}

/* FALSE: quit. */
static gboolean on_letter(KsmTop *top, char letter, gint64 *due_us)
{
    guint i;

    if (letter == 'q') {
        return FALSE;
    }
    if (letter == ' ') {
        *due_us = 0;
    } else if (letter == 'r') {
        top->reverse = !top->reverse;
    }
    for (i = 0; ksm_top_columns[i].heading != NULL; i++) {
        if (ksm_top_columns[i].key == letter) {
            top->sort = i;
        }
    }
    ksm_top_sort(top);
    return TRUE;
}

/* Moves by rows; the screen keeps it where rows are. */
static void scroll_by(guint *first, gint64 rows)
{
    *first = (guint)CLAMP((gint64)*first + rows, 0, G_MAXINT32);
}

/* FALSE: quit. */
static gboolean on_key(KsmTop *top, KsmScreenKey key, char letter, guint *first,
                       gint64 *due_us)
{
    switch (key) {
    case KSM_SCREEN_LETTER:
        return on_letter(top, letter, due_us);
    case KSM_SCREEN_LEFT:
        move_sort(top, -1);
        break;
    case KSM_SCREEN_RIGHT:
        move_sort(top, 1);
        break;
    case KSM_SCREEN_UP:
        scroll_by(first, -1);
        break;
    case KSM_SCREEN_DOWN:
        scroll_by(first, 1);
        break;
    case KSM_SCREEN_PAGE_UP:
        scroll_by(first, -(gint64)ksm_screen_rows());
        break;
    case KSM_SCREEN_PAGE_DOWN:
        scroll_by(first, ksm_screen_rows());
        break;
    case KSM_SCREEN_HOME:
        *first = 0;
        break;
    case KSM_SCREEN_GONE:
        return FALSE;
    case KSM_SCREEN_NOTHING:
    case KSM_SCREEN_RESIZED:
        break;
    }
    return TRUE;
}

static void watch(KsmTop *top, KsmClient *client)
{
    gint64 interval_us = (gint64)(interval_s * G_USEC_PER_SEC);
    gint64 due_us = g_get_monotonic_time() + interval_us;
    guint first = 0;
    KsmScreenKey key;
    char letter = '\0';

    do {
        gint64 now_us = g_get_monotonic_time();

        if (now_us >= due_us) {
            /* Its absence is shown; it may come back. */
            ksm_top_ask(top, client, NULL);
            due_us = g_get_monotonic_time() + interval_us;
        }
        ksm_screen_draw(top, &first);
        now_us = g_get_monotonic_time();
        key = ksm_screen_key((int)(MAX(0, due_us - now_us) / 1000) + 1,
                             &letter);
    } while (on_key(top, key, letter, &first, &due_us));
}

static gboolean run(KsmCtl *ctl, GError **errp)
{
    g_autoptr(KsmTop) top = NULL;
    g_autofree char *target = NULL;
    guint sort = 0;

    if (ctl->json) {
        return ksm_command_usage(errp, "top: for JSON use status and vms");
    }
    if (!(interval_s >= MIN_SECONDS && interval_s <= MAX_SECONDS)) {
        return ksm_command_usage(errp, "--interval: %g to %g seconds",
                                 MIN_SECONDS, MAX_SECONDS);
    }
    if (!ksm_top_find_column(sort_name != NULL ? sort_name : "saved", &sort)) {
        return ksm_command_usage(errp, "--sort %s: there is no such column",
                                 sort_name);
    }
    if (!ksm_domain_target(NULL, &target, errp)) {
        return FALSE;
    }
    top = ksm_top_new(sort, target);
    if (!ksm_top_ask(top, ctl->client, errp)) {
        ksm_domain_target_explain(errp);
        return FALSE;
    }
    if (!ksm_screen_open(errp)) {
        return FALSE;
    }
    watch(top, ctl->client);
    ksm_screen_close();
    return TRUE;
}

static gboolean run_top(KsmCtl *ctl, char **args, GError **errp)
{
    gboolean ok = run(ctl, errp);

    (void)args;
    g_free(sort_name);
    return ok;
}

extern const KsmCommand ksm_command_top;
const KsmCommand ksm_command_top = {
    .name = "top",
    .arguments = "",
    .summary = "The VMs live, sorted, with a bar and rates for each",
    .details = "Keys: q quit, left/right or a column's letter (v g m p s z b "
               "a c e k t) sort,\nr reverse, up/down/page scroll, space update "
               "now.  A bar is all of a VM's memory:\np private, b broken, s "
               "shared, 0 zero, . untouched.",
    .entries = entries,
    .run = run_top,
};
