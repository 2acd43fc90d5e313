# SPDX-License-Identifier: GPL-2.0-or-later
"""screen.py: a real terminal, by a tmux server of its own."""

import os
import shlex
import shutil
import subprocess
import tempfile

from fixture import tap

PROMPT = 'ready-for-more'


class Screen:
    """A shell in a terminal of that size, as a context."""

    def __init__(self, columns=140, lines=24, env=None):
        if shutil.which('tmux') is None:
            raise tap.Skip('tmux', 'tmux is not installed')
        self.where = tempfile.mkdtemp(prefix='ksm-screen-')
        self.env = {key: value for key, value in os.environ.items()
                    if key not in ('TMUX', 'TMUX_PANE')}
        self.env.update(LC_ALL='C.UTF-8', **(env or {}))
        start = os.path.join(self.where, 'start')
        with open(start, 'w', encoding='ascii') as file:
            file.write(f"PS1='{PROMPT} '\n")
        self.tmux('-f', '/dev/null', 'new-session', '-d', '-x', str(columns),
                  '-y', str(lines), f'bash --noprofile --rcfile {start}')
        try:
            self.wait(lambda text: PROMPT in text, 'a prompt')
        except AssertionError:
            self.__exit__()
            raise

    def tmux(self, *arguments):
        """A command to this server; its output."""
        done = subprocess.run(
            ['tmux', '-S', os.path.join(self.where, 'tmux'), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
            timeout=30, check=False, encoding='utf-8')
        tap.check(done.returncode == 0, f'tmux {arguments}: {done.stderr}')
        return done.stdout

    def text(self, *options):
        """What is on the screen now; -e with its colours."""
        return self.tmux('capture-pane', '-p', *options)

    def value(self, name):
        """Of a variable of tmux's, as alternate_on."""
        return self.tmux('display-message', '-p', f'#{{{name}}}').strip()

    def keys(self, *keys):
        """Presses them."""
        self.tmux('send-keys', *keys)

    def type(self, *words):
        """Types a command line and return."""
        self.tmux('send-keys', '-l', shlex.join(words))
        self.keys('Enter')

    def wait(self, condition, what, limit=20):
        """Polls the text until condition(text); returns the text."""
        seen = ['']

        def holds():
            seen[0] = self.text()
            return condition(seen[0])
        try:
            tap.wait_until(holds, limit, what)
        except AssertionError:
            tap.say(seen[0])
            raise
        return seen[0]

    def child(self):
        """Process id of what the shell runs."""
        shell = self.value('pane_pid')
        with open(f'/proc/{shell}/task/{shell}/children',
                  encoding='ascii') as file:
            return int(file.read().split()[-1])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.tmux('kill-server')
        shutil.rmtree(self.where, ignore_errors=True)
