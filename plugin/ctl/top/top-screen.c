/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * top-screen.c: takes the terminal, reads keys, gives it back.
 *
 * curses cannot be called from a signal handler.  So what gives the terminal
 * back is looked up at the start: its modes for tcsetattr() and the bytes that
 * leave the alternate screen, both of which a handler may use.  Thereafter the
 * signal does what it would have done.
 */
#include "top/top-screen.h"

#include <curses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "map/page-kind.h"

static const int ending_signals[] = {
    SIGHUP, SIGINT,  SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,
    SIGILL, SIGTRAP, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU,
};

static struct termios modes_before;
static char leave[256];
static gsize leave_bytes;
static SCREEN *screen;

/* One of the terminal's strings, as it stands: none of them has delays. */
static void add_leave(const char *capability)
{
    const char *bytes = tigetstr(capability);

    if (bytes != NULL && bytes != (const char *)-1) {
        leave_bytes = g_strlcat(leave, bytes, sizeof(leave));
        leave_bytes = MIN(leave_bytes, sizeof(leave) - 1);
    }
}

static void on_ending_signal(int number)
{
    gssize written = write(STDOUT_FILENO, leave, leave_bytes);

    (void)written;
    tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_ending_signal };
    gsize i;

    sigfillset(&action.sa_mask);
    for (i = 0; i < G_N_ELEMENTS(ending_signals); i++) {
        struct sigaction before;

        /* What the caller has ignored (nohup) stays ignored. */
        if (sigaction(ending_signals[i], NULL, &before) == 0 &&
            before.sa_handler != SIG_IGN) {
            sigaction(ending_signals[i], &action, NULL);
        }
    }
}

static void set_colours(void)
{
    guint i;

    if (!has_colors() || g_getenv("NO_COLOR") != NULL) {
        return;
    }
    start_color();
    use_default_colors();
    for (i = 0; i < KSM_KINDS; i++) {
        init_pair((short)(i + 1), (short)(ksm_page_kinds[i].colour % 8), -1);
    }
}

gboolean ksm_screen_open(GError **errp)
{
    const char *term = g_getenv("TERM");

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &modes_before) != 0) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "top needs a terminal; `guest-ksmctl vms` does not");
        return FALSE;
    }
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        g_set_error(errp, KSM_CTL_ERROR, KSM_CTL_FAILED,
                    "top cannot draw on a terminal of type '%s' (TERM)",
                    term != NULL ? term : "");
        return FALSE;
    }
    add_leave("sgr0");
    add_leave("cnorm");
    add_leave("rmkx");
    add_leave("rmcup");
    catch_signals();
    atexit(ksm_screen_close);
    set_colours();
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    set_escdelay(50);
    curs_set(0);
    return TRUE;
}

void ksm_screen_close(void)
{
    if (screen != NULL) {
        endwin();
        delscreen(screen);
        screen = NULL;
    }
}

/* Whether the terminal has gone: reading it would give nothing for ever. */
static gboolean is_gone(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

    return poll(&input, 1, 0) > 0 &&
           (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

KsmScreenKey ksm_screen_key(int timeout_ms, char *letter)
{
    int key;

    timeout(timeout_ms);
    key = getch();
    switch (key) {
    case ERR:
        return is_gone() ? KSM_SCREEN_GONE : KSM_SCREEN_NOTHING;
    case KEY_RESIZE:
        return KSM_SCREEN_RESIZED;
    case KEY_UP:
        return KSM_SCREEN_UP;
    case KEY_DOWN:
        return KSM_SCREEN_DOWN;
    case KEY_PPAGE:
        return KSM_SCREEN_PAGE_UP;
    case KEY_NPAGE:
        return KSM_SCREEN_PAGE_DOWN;
    case KEY_HOME:
        return KSM_SCREEN_HOME;
    case KEY_LEFT:
        return KSM_SCREEN_LEFT;
    case KEY_RIGHT:
        return KSM_SCREEN_RIGHT;
    default:
        *letter = key > 0 && key < 128 ? (char)key : '\0';
        return KSM_SCREEN_LETTER;
    }
}
