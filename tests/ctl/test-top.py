# SPDX-License-Identifier: GPL-2.0-or-later
"""test-top.py: guest-ksmctl top in a real terminal, with real engines."""

import os
import re
import signal
import time

from screen import PROMPT, Screen
from fixture import CTL, Fixture, ZERO, run_ctl, tap

COST_SESSIONS = 50
COST_SECONDS = 10
COST_MAX = 0.01                # of one CPU


def start(screen, fixture, *options):
    """Starts top and waits for its first picture."""
    screen.type(CTL, '--socket', fixture.socket, 'top', *options)
    return screen.wait(lambda text: 'q quit' in text, 'top draws')


def row_of(text, name):
    """The words of a VM's row, the bar being the last."""
    rows = [line.split() for line in text.splitlines()
            if line.startswith(name + ' ')]
    return rows[0] if rows else None


def order_of(text):
    """The VMs' names from the top."""
    return re.findall(r'^(vm\d+|web\d+) ', text, re.M)


def mib(pages):
    """As the screen has it."""
    return f'{pages / 256:.1f}'


def test_rows_and_bars():
    """Each figure of a row is the engine's, and so are the bar's parts."""
    with Fixture() as fixture, Screen() as screen:
        fixture.pair()
        text = start(screen, fixture)
        for number, name in enumerate(('web1', 'web2')):
            state = fixture.state(number)
            words = row_of(text, name)
            private = state['pages_unshared'] + state['pages_volatile']
            tap.check(words[1:7] == [
                'web', mib(512), mib(private), mib(state['pages_sharing']),
                mib(state['zero_pages']), mib(state['pages_broken'])], text)
            tap.check(words[-2] == 'running', text)
            check_bar(words[-1], [
                ('p', private), ('b', state['pages_broken']),
                ('s', state['pages_sharing']), ('0', state['zero_pages']),
                ('.', 62)])
        tap.check('2 VMs' in text and f'saved {mib(fixture.saved)} MiB' in text, text)
        check_colours(screen)
        check_rates(fixture, screen)
        check_sizes(screen)
        check_trouble(fixture, screen)
        screen.keys('q')


def check_bar(bar, parts):
    """Letters in this order, each for its share, to a letter."""
    tap.check(re.fullmatch('p*b*s*0*[.]*', bar), bar)
    for letter, pages in parts:
        wanted = len(bar) * pages / 512
        tap.check(abs(bar.count(letter) - wanted) <= 1,
                  f'{bar}: {bar.count(letter)} x {letter}, not {wanted:.1f}')


def check_colours(screen):
    """Shared is green (2), broken red (1)."""
    text = screen.text('-e')
    tap.check(re.search('\033\\[7m?;?\033?\\[?3?2m?', text) and
              '\033[32m' in text and '\033[31m' in text, repr(text))


def check_rates(fixture, screen):
    """Written pages are seen as breaks a second, and then no more."""
    fixture.fill(0, 0, 100, seed=99)
    screen.wait(lambda text: float(row_of(text, 'web1')[9]) > 0 or
                float(row_of(text, 'web1')[10]) > 0, 'a rate of breaks')
    screen.wait(lambda text: row_of(text, 'web1')[6] == mib(100),
                '100 broken pages')
    screen.wait(lambda text: float(row_of(text, 'web1')[10]) == 0,
                'no breaks any more')


def check_sizes(screen):
    """A narrow terminal has fewer columns, and lines stay whole."""
    for columns, lines in ((60, 12), (20, 5), (200, 40)):
        screen.tmux('resize-window', '-x', str(columns), '-y', str(lines))
        tap.wait_until(lambda c=columns: screen.value('pane_width') ==
                       str(c), 10, 'resized')
        wide = columns >= 130
        screen.wait(lambda text, w=wide: ('PRIVATE' in text) == w and
                    'guest-ksmctl' in text, f'drawn for {columns} columns')
        text = screen.text()
        tap.check(all(len(line) <= columns for line in text.splitlines()),
                  text)
    screen.tmux('resize-window', '-x', '140', '-y', '24')
    screen.wait(lambda text: 'PRIVATE' in text and 'q quit' in text,
                'as wide as before')


def check_trouble(fixture, screen):
    """A broker that goes is told of, the rows stay, and it comes back."""
    fixture.order('broker', 'stop')
    text = screen.wait(lambda text: 'no broker listens' in text, 'trouble')
    tap.check(row_of(text, 'web1'), text)
    fixture.order('broker', 'start')
    screen.wait(lambda text: 'no broker listens' not in text, 'no trouble')


def test_sorting_and_scrolling():
    """Keys choose the column and its direction; rows scroll."""
    with Fixture() as fixture, Screen(lines=14) as screen:
        if not fixture.zero_page:
            raise tap.Skip('zero-page', 'no VM has pages of zeros to sort by: '
                           'this kernel has no shared zero page')
        for index in range(12):
            number, _ = fixture.remote(f'vm{index:02}/ram0',
                                     'a' if index % 2 else 'b', 256)
            fixture.fill(number, 0, 10 * index + 10, kind=ZERO, seed=0)
        fixture.settle(sum(10 * index + 10 for index in range(12)))
        fixture.wait_known(11, 'vm11/ram0')
        names = [f'vm{index:02}' for index in range(12)]
        text = start(screen, fixture, '--sort', 'zero', '-i', '0.2')
        rows = 14 - 6 - 1
        falling = names[::-1]
        tap.check(order_of(text) == falling[:rows], text)
        for keys, wanted in (
                (['r'], names[:rows]), (['Down'], names[1:rows + 1]),
                (['Down', 'Down'], names[3:rows + 3]),
                (['Up'], names[2:rows + 2]),
                (['NPage'], names[-rows:]), (['NPage'], names[-rows:]),
                (['Home'], names[:rows]), (['r'], falling[:rows]),
                (['v'], names[:rows]),
                (['g'], (names[1::2] + names[::2])[:rows]),
                (['Right'] * 4, falling[:rows]),        # to ZERO
                (['Left'] * 5, names[:rows]),           # to VM
                (['z'], falling[:rows])):
            screen.keys(*keys)
            screen.wait(lambda text, w=wanted: order_of(text) == w,
                        f'{keys}: {wanted}')
        screen.keys('q')
        screen.wait(lambda text: 'q quit' not in text, 'it has ended')


def terminal_state(screen):
    """All that a program may leave behind."""
    screen.type('stty', '-a')
    text = screen.wait(lambda text: 'echoke' in text and
                       text.rstrip().endswith(PROMPT), 'stty')
    screen.type('clear')
    screen.wait(lambda text: 'echoke' not in text, 'cleared')
    # How far down the prompt stands is no state of the terminal's.
    said = text[text.index('speed'):].rstrip()
    return (re.sub(r'rows \d+; columns \d+', '', said),
            screen.value('alternate_on'), screen.value('cursor_flag'),
            screen.value('keypad_cursor_flag'), screen.value('keypad_flag'))


def test_terminal_is_given_back():
    """Whichever way it ends: the terminal is as it was before."""
    with Fixture() as fixture, Screen(lines=40) as screen:
        fixture.pair()
        before = terminal_state(screen)
        for way in ('q', 'C-c', signal.SIGTERM, signal.SIGHUP,
                    signal.SIGQUIT, signal.SIGABRT, signal.SIGSEGV,
                    signal.SIGPIPE):
            start(screen, fixture)
            tap.check(screen.value('alternate_on') == '1' and
                      screen.value('cursor_flag') == '0', 'it has it')
            if isinstance(way, str):
                screen.keys(way)
            else:
                os.kill(screen.child(), way)
            screen.wait(lambda text: 'q quit' not in text and
                        text.rstrip().endswith(PROMPT), f'ended by {way}')
            screen.type('echo', 'status')
            screen.type('clear')
            after = terminal_state(screen)
            tap.check(after == before, f'{way}: {after} was {before}')
        check_job_control(fixture, screen, before)


def check_job_control(fixture, screen, before):
    """Stopped, it gives the terminal back; continued, it draws again."""
    start(screen, fixture)
    screen.keys('C-z')
    screen.wait(lambda text: 'q quit' not in text and
                text.rstrip().endswith(PROMPT), 'stopped')
    tap.check(screen.value('alternate_on') == '0', 'the normal screen')
    screen.type('fg')
    screen.wait(lambda text: 'q quit' in text, 'drawn again')
    screen.keys('q')
    screen.wait(lambda text: 'q quit' not in text, 'ended')
    screen.type('clear')
    tap.check(terminal_state(screen) == before, 'after job control')


def test_plain_terminals():
    """Without colours; on one it cannot draw on; on none at all."""
    with Fixture() as fixture:
        fixture.pair()
        for env in ({'TERM': 'vt100'}, {'NO_COLOR': '1'}):
            with Screen(env=env) as screen:
                screen.type('export', *(f'{k}={v}' for k, v in env.items()))
                start(screen, fixture)
                tap.check('\033[32m' not in screen.text('-e'), 'no green')
                words = row_of(screen.text(), 'web2')
                tap.check(re.fullmatch('p+b+s+0*[.]+', words[-1]), words)
        with Screen() as screen:
            screen.type('TERM=nosuch', CTL, '--socket', fixture.socket, 'top')
            screen.type('export', 'TERM=nosuch')
            screen.type(CTL, '--socket', fixture.socket, 'top')
            screen.wait(lambda text: "type 'nosuch'" in text, 'an error')
        _, err = fixture.ctl('top', status=1)
        tap.check('terminal' in err, err)


def test_usage():
    """Wrong options, and no broker."""
    for options, word in ((['--interval', '0'], '--interval'),
                          (['--interval', 'x'], 'interval'),
                          (['--sort', 'x'], '--sort x'),
                          (['extra'], 'usage')):
        _, err = run_ctl('top', *options, status=2)
        tap.check(word in err, err)
    _, err = run_ctl('--socket', '/nonexistent/c.sock', 'top', status=3)
    tap.check('/nonexistent/c.sock' in err, err)


def cpu_seconds(pid):
    """A process's time on a CPU so far."""
    with open(f'/proc/{pid}/schedstat', encoding='ascii') as file:
        return int(file.read().split()[0]) / 1e9


def cpu_share(pids):
    """What each of them uses of a CPU, over COST_SECONDS."""
    before = [cpu_seconds(pid) for pid in pids]
    begin = time.monotonic()
    time.sleep(COST_SECONDS)            # not to wait: it is the measure
    took = time.monotonic() - begin
    return [(cpu_seconds(pid) - start) / took
            for pid, start in zip(pids, before)]


def test_cost_of_watching():
    """top once a second on 50 engines costs less than 1 % of a CPU: its own
    time, and what the broker needs more than without it."""
    with open(CTL, 'rb') as program:
        if b'__asan_init' in program.read():
            raise tap.Skip('plain build', 'sanitizers multiply the time')
    with Fixture() as fixture, Screen(lines=60) as screen:
        for index in range(COST_SESSIONS):
            fixture.remote(f'vm{index:02}/ram0', 'web', 64)
        idle, = cpu_share([fixture.broker_pid])
        text = start(screen, fixture)
        tap.check(len(order_of(text)) == COST_SESSIONS, text)
        own, busy = cpu_share([screen.child(), fixture.broker_pid])
        screen.keys('q')
        tap.say(f'watching {COST_SESSIONS} engines: top {100 * own:.2f} % '
                f'of a CPU, guest-ksmd {100 * busy:.2f} %, without top '
                f'{100 * idle:.2f} %')
        tap.check(own + max(0, busy - idle) < COST_MAX,
                  f'{own} + {busy} - {idle}')


tap.run([test_rows_and_bars, test_sorting_and_scrolling,
         test_terminal_is_given_back, test_plain_terminals, test_usage,
         test_cost_of_watching])
