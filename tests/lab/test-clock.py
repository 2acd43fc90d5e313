# SPDX-License-Identifier: GPL-2.0-or-later
"""test-clock.py: the clock is set while guests share.

Hours forward, and years back, as happens to hosts that were started with a
wrong time.  Nothing may depend on it but what is shown as a time of day.
"""

import itertools
import json
import os
import subprocess
import time

from inside import check_output, command
from fixture import Fixture
from tap import check, run, say, wait_until

HOUR = 3600
YEAR = 365 * 24 * HOUR
JUMPS = (('six hours forward', 6 * HOUR), ('ten years back', -10 * YEAR),
         ('twenty years forward', 20 * YEAR),
         ('back', -10 * YEAR - 6 * HOUR))
PAGES = 1024


def jump(seconds):
    """Sets the clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def cpu_seconds(pids):
    """CPU time of processes so far."""
    ticks = 0
    for pid in pids:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:
            fields = file.read().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


class Pair:
    """Two VMs of a fixture, of which more and more is shared."""

    def __init__(self, fixture):
        self.fixture = fixture
        self.filled = 0
        self.pids = [fixture.broker_pid]
        for name in ('a/ram0', 'b/ram0'):
            self.pids.append(fixture.remote(name, 'clock', PAGES)[1])

    def share_more(self):
        """New pages, of the same content in both."""
        for number in (0, 1):
            self.fixture.fill(number, self.filled, 100, seed=1000 + self.filled)
        self.filled += 100
        start = time.monotonic()
        # Not more than that: zeros of huge pages count, too.
        self.fixture.order('settle', 0)
        wait_until(self.all_shared, 30, f'{self.filled} pages are shared')
        return time.monotonic() - start

    def all_shared(self):
        """All that both have."""
        return all(self.fixture.state(number)['pages_sharing'] == self.filled
                   for number in (0, 1))

    def load(self, seconds=2):
        """CPU per second of all of them, with nothing to do."""
        before, start = cpu_seconds(self.pids), time.monotonic()
        while time.monotonic() - start < seconds:
            time.sleep(0.1)
        return (cpu_seconds(self.pids) - before) / (time.monotonic() - start)

    def check_figures(self):
        """Ages and rates that could have come out of the jump."""
        for session in self.fixture.sessions():
            check(0 <= session['last_seen_ms'] < 30000, f'{session}')
            check(0 <= session['cpu_percent'] <= 200, f'{session}')
        out, _ = self.fixture.ctl('--json', 'status')
        check(0 <= json.loads(out)['broker']['uptime_ms'] < 600000, out)


def samples(fixture, *arguments):
    """Times of day in the broker's history."""
    out, _ = fixture.ctl('--json', 'history', *arguments)
    return [sample[0] for sample in json.loads(out)['samples']]


def sharing_goes_on():
    """After each jump: new pages are shared, nobody spins, figures are sane,
    and no sample of the history is lost."""
    with Fixture() as fixture:
        pair = Pair(fixture)
        pair.share_more()
        idle = pair.load()
        wait_until(lambda: samples(fixture), 30, 'a sample of the history')
        count = len(samples(fixture))
        for name, seconds in JUMPS:
            jump(seconds)
            took = pair.share_more()
            load = pair.load()
            say(f'{name}: shared after {took:.1f} s, '
                f'load {load:.2f} (before {idle:.2f})')
            check(load < 2 * idle + 0.2, f'{name}: load {load}')
            pair.check_figures()
            now = time.time()
            times = samples(fixture, '--last', '1h')
            check(len(times) >= count, f'{name}: {times}')
            check(times == sorted(times), f'{name}: {times}')
            check(all(now - 600 < at <= now + 2 for at in times),
                  f'{name}: {times}, now {now}')
            count = len(times)


def run_under_jumps(program, case, seconds, jumps, pause):
    """Runs a case of a test program; meanwhile the clock jumps by what
    `jumps` gives next."""
    made = 0
    with subprocess.Popen(
            command(program, case),
            env=dict(os.environ, KSM_TEST_SECONDS=str(seconds)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            jump(next(jumps))
            made += 1
            time.sleep(pause)
        check_output(program, process.returncode,
                     process.stdout.read().decode(errors='replace'))
    say(f'{made} jumps')
    check(made >= len(JUMPS), f'only {made} jumps')


def memory_is_whole():
    """The oracle, with a clock that jumps to and fro all the while."""
    run_under_jumps('kernel/test-oracle', '/oracle/read', 20,
                    itertools.cycle(seconds for _, seconds in JUMPS), 0.3)


def engines_find_the_next_broker():
    """Though the clock goes back while they wait until they try again."""
    run_under_jumps('kernel/test-handover', '/handover/killed', 5,
                    itertools.repeat(-HOUR), 0.05)


run([sharing_goes_on, memory_is_whole, engines_find_the_next_broker])
