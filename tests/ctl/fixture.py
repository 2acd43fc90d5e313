# SPDX-License-Identifier: GPL-2.0-or-later
"""fixture.py: a broker and engines, and guest-ksmctl run against them.

The statistics come from ctl-engines, which asks the engines themselves; nothing
here uses the code of guest-ksmctl.
"""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'qemu'))
# pylint: disable=wrong-import-position
import tap                      # noqa: E402

CTL = os.environ['GUEST_KSMCTL']
ZERO, SEEDED, BYTE = 0, 1, 2    # KsmTestKind
PAGE = 4096


def run_ctl(*arguments, status=0, env=None, **more):
    """Runs guest-ksmctl; returns (output, errors) after its status fitted."""
    done = subprocess.run(
        [CTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        timeout=60, check=False, encoding='utf-8',
        env={**os.environ, 'LC_ALL': 'C.UTF-8', **(env or {})}, **more)
    tap.check(done.returncode == status,
              f'guest-ksmctl {" ".join(arguments)}: status {done.returncode} '
              f'instead of {status}: {done.stdout}{done.stderr}')
    return done.stdout, done.stderr


class Fixture:
    """ctl-engines, as a context."""

    def __init__(self):
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [os.environ['CTL_ENGINES']], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, encoding='ascii')
        word, rest = self._line().split(' ', 1)
        if word == 'lacks':
            self.process.communicate()
            raise tap.Skip('uffd', rest)
        tap.check(word == 'ready', f'ctl-engines said {word} {rest}')
        self.socket, pid = rest.rsplit(' ', 1)
        self.broker_pid = int(pid)
        # Of pair(): without a zero page, zeros are shared, from one tile.
        self.zero_page = self.order('zero-page') == [1]
        self.zeros = 100 if self.zero_page else 0
        self.slots = 300 if self.zero_page else 300 + 64
        self.worst_case = 300 + 280 + 200
        self.saved = self.worst_case - self.slots

    def _line(self):
        line = self.process.stdout.readline()
        tap.check(line != '', 'ctl-engines has ended')
        return line.strip()

    def order(self, *words):
        """One order; the numbers of the answer."""
        self.process.stdin.write(' '.join(map(str, words)) + '\n')
        self.process.stdin.flush()
        answer = self._line().split()
        tap.check(answer[0] == 'ok', f'{words}: {answer}')
        return [int(word) for word in answer[1:]]

    def remote(self, name, group, pages, *node):
        """An engine, perhaps kept to a NUMA node; (number, pid)."""
        return self.order('remote', name, group, pages, *node)

    def fill(self, number, first, count, kind=SEEDED, seed=1, each=1):
        """Writes pages."""
        self.order('fill', number, first, count, kind, seed, each)

    def settle(self, pages):
        """Lets all of them scan until they share that many."""
        shared = self.order('settle', pages)[0]
        tap.check(shared == pages, f'{shared} pages shared, not {pages}')

    def state(self, number):
        """What an engine says of its pages, by the protocol's names."""
        return dict(zip(('pages_sharing', 'zero_pages', 'pages_broken',
                         'pages_unshared', 'pages_volatile'),
                        self.order('state', number)))

    def ctl(self, *arguments, **more):
        """guest-ksmctl on this broker."""
        return run_ctl('--socket', self.socket, *arguments, **more)

    def sessions(self):
        """What the broker knows of the engines."""
        return json.loads(self.ctl('--json', 'vms')[0])['sessions']

    def wait_known(self, number, name):
        """Until the broker has received the engine's report."""
        def known():
            states = [{key: session[key] for key in wanted}
                      for session in self.sessions()
                      if session['name'] == name]
            return states == [wanted]
        wanted = self.state(number)
        tap.wait_until(known, 20, f'{name} is known to be {wanted}')

    def pair(self):
        """Two VMs of 512 pages in group web: 300 shared, 100 of zeros, 50 own,
        and in the second 20 broken."""
        for name in ('web1/ram0', 'web2/ram0'):
            number, _ = self.remote(name, 'web', 512)
            self.fill(number, 0, 300, seed=7)
            self.fill(number, 300, 100, kind=ZERO, seed=0, each=0)
            self.fill(number, 400, 50, seed=1000000 * (number + 1))
        self.settle(800)
        self.fill(1, 0, 20, seed=555)
        tap.wait_until(lambda: self.state(1)['pages_broken'] == 20, 20,
                       '20 pages are broken')
        for number, name in enumerate(('web1/ram0', 'web2/ram0')):
            tap.wait_until(lambda n=number: self.state(n)['pages_unshared']
                           == 50, 20, '50 pages are unshared')
            self.wait_known(number, name)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait(timeout=90)
        self.process.stdout.close()
        # With a test that failed already, the first reason counts.
        if unused[0] is None:
            tap.check(self.process.returncode == 0, 'ctl-engines failed')
