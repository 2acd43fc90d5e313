# SPDX-License-Identifier: GPL-2.0-or-later
"""native_programs.py: runs libvirt's own test programs of a build.

The capabilities of a QEMU with memory-backend-ksm, as variant '+ksm', and
what libvirt makes of them are generated here; libvirt's own data stays as it
is: whatever of it would change is a failure.
"""

import os
import re
import subprocess

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.path.realpath(os.environ.get('KSM_BUILD',
                                        os.path.join(ROOT, 'build')))
LIBVIRT = os.path.join(BUILD, 'libvirt')
DATA = os.path.join(BUILD, 'libvirt-src', 'tests')
QEMU = os.environ.get('KSM_TEST_QEMU',
                      os.path.join(BUILD, 'qemu', 'qemu-system-x86_64'))
CAPS = 'qemucapabilitiesdata/caps_10.0.0_x86_64+ksm'
OURS = '+ksm'
CASE = re.compile(r'^\s*\d+\) (.*?) +\.\.\. ?(.*)$')
LIMIT_SECONDS = 300


class Program:
    """One run of a test program: its cases and their results."""

    def __init__(self, name, **environment):
        done = subprocess.run(
            [os.path.join(LIBVIRT, 'run'),
             os.path.join(LIBVIRT, 'tests', name)],
            env=dict(os.environ, VIR_TEST_VERBOSE='1', LC_ALL='C',
                     LIBVIRT_AUTOSTART='0', **environment),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, timeout=LIMIT_SECONDS)
        self.name = name
        self.status = done.returncode
        self.output = done.stdout.decode(errors='replace')
        self.cases = {}
        self._parse()

    def _parse(self):
        """What a case says may come between its name and its result."""
        case = None
        for line in self.output.splitlines():
            match = CASE.match(line)
            if match:
                case, line = match[1], match[2]
            if case and line in ('OK', 'FAILED', 'SKIP'):
                self.cases[case] = line
                case = None

    def count(self, result, having=''):
        """Cases with that result, whose name has that text."""
        return sum(1 for case, got in self.cases.items()
                   if got == result and having in case)

    def why(self):
        """The cases that failed, or the last lines."""
        failed = [case for case, got in self.cases.items()
                  if got == 'FAILED']
        return '\n'.join(failed[:20] or self.output.splitlines()[-20:])


def read(name):
    """A file of libvirt's test data."""
    with open(os.path.join(DATA, name), encoding='utf-8') as file:
        return file.read()


def _all_files():
    for place in ('qemucapabilitiesdata', 'domaincapsdata'):
        for name in os.listdir(os.path.join(DATA, place)):
            path = os.path.join(DATA, place, name)
            yield path, os.stat(path).st_mtime_ns


def make_data():
    """Asks the QEMU, and lets libvirt write down what it makes of it."""
    for path, _ in list(_all_files()):
        if OURS in path:
            os.unlink(path)
    before = dict(_all_files())
    probe = subprocess.run(
        [os.path.join(LIBVIRT, 'run'),
         os.path.join(LIBVIRT, 'tests', 'qemucapsprobe'), QEMU],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True,
        timeout=LIMIT_SECONDS)
    with open(os.path.join(DATA, CAPS + '.replies'), 'wb') as file:
        file.write(probe.stdout)
    for name in ('qemucapabilitiestest', 'domaincapstest'):
        Program(name, VIR_TEST_REGENERATE_OUTPUT='1')
    after = dict(_all_files())
    changed = [path for path, when in before.items()
               if after.get(path) != when]
    if changed:
        raise AssertionError("libvirt's own data would change: " +
                             ' '.join(changed[:10]))
    return sorted(os.path.basename(path) for path in set(after) - set(before))
