#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.py: runs a command as root on a host of its own, in a VM.

It starts in the root of this tree, of which the host has a copy at the same
path: scripts, tests, and what is built in build/plugin and build/qemu.  Its
output comes here, and its exit status; 125 when the host failed.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import host                                         # noqa: E402

BROKEN = 125


def parse_arguments():
    """The options, and the command after them."""
    parser = argparse.ArgumentParser(prog='scripts/lab', description=__doc__)
    parser.add_argument('--seconds', type=int, default=600,
                        help='the command may take (600)')
    parser.add_argument('--memory', type=int, default=4096, metavar='MIB',
                        help='of the host, half of it on each node (4096)')
    parser.add_argument('--cpus', type=int, default=2)
    parser.add_argument('--accel', default='tcg,thread=multi')
    parser.add_argument('--env', action='append', default=[],
                        metavar='NAME=VALUE', help="in the command's world")
    parser.add_argument('--qemu-arg', action='append', default=[],
                        metavar='WORD', help="one more of QEMU's arguments")
    parser.add_argument('command', nargs=argparse.REMAINDER,
                        help='a program with its arguments')
    options = parser.parse_args()
    if options.command[:1] == ['--']:
        del options.command[0]
    if not options.command:
        parser.error('a command is needed')
    return options


def main():
    """Runs it."""
    options = parse_arguments()
    try:
        return host.run(host.shell_command(options.command, options.env),
                        options.seconds,
                        sys.stdout.buffer, sys.stderr.buffer,
                        mem_mib=options.memory, cpus=options.cpus,
                        accel=options.accel, qemu_args=options.qemu_arg)
    except host.LabError as error:
        print(f'lab: {error}', file=sys.stderr)
        return BROKEN


if __name__ == '__main__':
    sys.exit(main())
