# SPDX-License-Identifier: GPL-2.0-or-later
"""run.py: runs a test program of this directory in the lab.

usage: run.py PROGRAM SECONDS [ACCEL]

Its TAP is this program's.  Where there can be no lab (no QEMU is built, no
packages to be had) all of it is skipped, or fails if KSM_TEST_REQUIRE names
`lab`.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, '..', '..'))
sys.path.insert(0, os.path.join(HERE, '..', 'qemu'))
sys.path.insert(0, os.path.join(ROOT, 'scripts', 'lib', 'lab'))

from tap import Skip, required, say                 # noqa: E402
from world import image_of_packages, need, tiny_image   # noqa: E402
import host                                         # noqa: E402

# What every lab has.
CAPABILITIES = 'uffd,uring,direct'


def prepare():
    """All that the lab is made of."""
    try:
        need('tcg')
    except Skip as skip:
        raise Skip('lab', str(skip)) from skip
    image_of_packages('host', 'lab')
    tiny_image()


def main():
    """Runs it."""
    program, seconds = sys.argv[1], int(sys.argv[2])
    settings = {'accel': sys.argv[3]} if len(sys.argv) > 3 else {}
    try:
        prepare()
    except Skip as skip:
        if not required('lab'):
            print(f'1..0 # SKIP {skip}')
            return 0
        say(f'lab is required: {skip}')
        print('1..1\nnot ok 1 - the lab')
        return 1
    needed = CAPABILITIES + (',lab' if required('lab') else '')
    environment = [f'KSM_TEST_REQUIRE={needed}', 'KSM_TEST_SECONDS='
                   f'{os.environ.get("KSM_TEST_SECONDS", "10")}']
    command = host.shell_command(
        ['/usr/bin/python3', os.path.join('tests', 'lab', program)],
        environment)
    try:
        return host.run(command, seconds, sys.stdout.buffer,
                        sys.stderr.buffer, **settings)
    except host.LabError as error:
        say(error)
        return 1


if __name__ == '__main__':
    sys.exit(main())
