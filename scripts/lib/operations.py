# SPDX-License-Identifier: GPL-2.0-or-later
"""operations.py: fills docs/operations.md with what the commands print.

Boots the demo's guests, then goes through the page: a comment above a block
says which command's output belongs there, or what `top` shows in a terminal,
or which command draws a picture.  Ends what it started.

usage: operations.py CTL [OPTION OF scripts/demo]...
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, 'docs', 'operations.md')
BLOCK = re.compile(r'<!-- (output|screen): (.*?) -->\n```\n.*?```\n', re.S)
PICTURE = re.compile(r'<!-- picture: (.*?) -->')
HISTORY_SECONDS = 100           # so that there is one
SCREEN = ('-x', '140', '-y', '14')


class Demo:
    """scripts/demo --keep, and what it left running; a context."""

    def __init__(self, options):
        done = subprocess.run(
            [os.path.join(ROOT, 'scripts', 'demo'), '--keep', *options],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True,
            encoding='utf-8')
        self.pids, where = re.search(
            r'End them with: kill ([\d ]+); rm -r (\S+)', done.stdout).groups()
        self.where = where
        self.socket = os.path.join(where, 'control.sock')

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        subprocess.run(['kill', *self.pids.split()], check=False)
        shutil.rmtree(self.where, ignore_errors=True)


class Runner:
    """Runs commands as the page has them, on the demo's broker."""

    def __init__(self, ctl, socket):
        self.bin = tempfile.mkdtemp(prefix='ksm-operations-')
        wrapper = os.path.join(self.bin, 'guest-ksmctl')
        with open(wrapper, 'w', encoding='utf-8') as file:
            # An option that the page gives itself comes later, and wins.
            file.write(f'#!/bin/sh\nexec {shlex.quote(ctl)} '
                       f'--socket {shlex.quote(socket)} "$@"\n')
        os.chmod(wrapper, 0o755)
        self.env = {**os.environ, 'LC_ALL': 'C.UTF-8', 'COLUMNS': '90',
                    'PATH': self.bin + ':' + os.environ['PATH']}
        self.socket = socket

    def output(self, command):
        """What it prints, errors included."""
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=self.env, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding='utf-8', timeout=60)
        # Where the demo's socket lies is of no interest.
        return done.stdout.replace(self.socket,
                                   '/run/guest-ksm/control.sock')

    def _tmux(self, *arguments):
        return subprocess.run(
            ['tmux', '-S', os.path.join(self.bin, 'tmux'), *arguments],
            env=self.env, check=True, stdout=subprocess.PIPE,
            encoding='utf-8').stdout

    def screen(self, command):
        """What it shows in a terminal after some looks."""
        # COLUMNS is for what is no terminal: curses would believe it.
        self._tmux('-f', '/dev/null', 'new-session', '-d', *SCREEN,
                   f'unset COLUMNS; exec {command}')
        time.sleep(4)           # three more looks, for the rates
        text = self._tmux('capture-pane', '-p')
        self._tmux('kill-server')
        return '\n'.join(line.rstrip() for line in text.splitlines()) + '\n'

    def end(self):
        """Removes its files."""
        shutil.rmtree(self.bin, ignore_errors=True)


def main():
    """Rewrites the page in one go."""
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__.rsplit('\n\n', 1)[1].strip())
    with open(PAGE, encoding='utf-8') as file:
        page = file.read()
    with Demo(sys.argv[2:]) as demo:
        runner = Runner(os.path.abspath(sys.argv[1]), demo.socket)
        time.sleep(HISTORY_SECONDS)

        def refill(match):
            print(match[2], file=sys.stderr)
            text = getattr(runner, match[1])(match[2])
            return (f'<!-- {match[1]}: {match[2]} -->\n'
                    f'```\n{text.rstrip()}\n```\n')
        os.makedirs(os.path.join(ROOT, 'docs', 'images'), exist_ok=True)
        for command in PICTURE.findall(page):
            print(command, runner.output(command), file=sys.stderr)
        page = BLOCK.sub(refill, page)
        runner.end()
    with open(PAGE + '.new', 'w', encoding='utf-8') as file:
        file.write(page)
    os.replace(PAGE + '.new', PAGE)


if __name__ == '__main__':
    main()
