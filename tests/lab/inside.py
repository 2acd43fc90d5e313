# SPDX-License-Identifier: GPL-2.0-or-later
"""inside.py: common code of the lab's tests; import it first, for the paths."""

import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'qemu'))
sys.path.insert(0, os.path.join(HERE, '..', 'ctl'))

from tap import check, say                          # noqa: E402
from world import BUILD                             # noqa: E402

ROOT = os.path.realpath(os.path.join(HERE, '..', '..'))

TESTS = os.path.join(BUILD, 'plugin', 'tests')


def write(path, text):
    """To a file of /sys or /proc."""
    with open(path, 'w', encoding='utf-8') as file:
        file.write(str(text))


def command(program, *cases):
    """The words that run some of its cases, or all."""
    words = [os.path.join(TESTS, program), '--tap']
    for case in cases:
        words += ['-p', case]
    return words


def check_output(program, status, output):
    """What it said: all that was asked for has passed, none was skipped."""
    say(output)
    passed = re.findall(r'^ok \d+ /\S+$', output, re.M)
    check(status == 0, f'{program}: status {status}')
    check(passed, f'{program} has run nothing')
    check(' # SKIP' not in output, f'{program} has skipped some')


def moves(guest):
    """What a guest's engine has moved so far, there or back."""
    stats = guest.ksm_stats()
    return stats['merges'] + stats['zero-merges'] + stats['windows']


def run_program(program, *cases, seconds=None, require=None):
    """Runs it to its end; `require` a capability that only the lab has."""
    environment = dict(os.environ)
    if require:
        environment['KSM_TEST_REQUIRE'] = require
    if seconds:
        environment['KSM_TEST_SECONDS'] = str(seconds)
    start = time.monotonic()
    done = subprocess.run(command(program, *cases), check=False,
                          env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    say(f'{program}: {time.monotonic() - start:.1f} s')
    check_output(program, done.returncode,
                 done.stdout.decode(errors='replace'))
