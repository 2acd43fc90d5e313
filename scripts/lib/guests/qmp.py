# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp.py: a small QMP client, one command at a time."""

import json
import socket
import time


class QmpError(Exception):
    """QEMU refused a command, or went away."""


class Qmp:
    """A connection to one QEMU's QMP socket."""

    def __init__(self, path, alive, timeout=30.0):
        """Connects to PATH; gives up when alive() says QEMU has ended."""
        deadline = time.monotonic() + timeout
        self.sock = None
        while self.sock is None:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
                self.sock = sock
            except OSError as error:
                sock.close()
                if not alive() or time.monotonic() > deadline:
                    raise QmpError(f'no QMP at {path}: {error}') from error
                time.sleep(0.05)
        self.sock.settimeout(timeout)
        # For reading alone: text written to it would drop what was read ahead.
        self.file = self.sock.makefile('r', encoding='utf-8')
        self.events = []
        self._read()
        self.command('qmp_capabilities')

    def _read(self):
        try:
            line = self.file.readline()
        except OSError as error:
            raise QmpError(f'QMP: {error}') from error
        if not line:
            raise QmpError('QMP: the connection was closed')
        return json.loads(line)

    def command(self, name, **arguments):
        """Runs a command and returns what it returns."""
        request = {'execute': name}
        if arguments:
            request['arguments'] = {
                key.replace('_', '-'): value
                for key, value in arguments.items()}
        try:
            self.sock.sendall((json.dumps(request) + '\n').encode())
        except OSError as error:
            raise QmpError(f'QMP: {error}') from error
        while True:
            answer = self._read()
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise QmpError(f"{name}: {answer['error']['desc']}")
            self.events.append(answer)

    def monitor(self, line):
        """Runs a command of the human monitor; returns its text."""
        return self.command('human-monitor-command', command_line=line)

    def close(self):
        """Ends the connection; QEMU runs on."""
        self.file.close()
        self.sock.close()
