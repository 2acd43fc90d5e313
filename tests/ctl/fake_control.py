# SPDX-License-Identifier: GPL-2.0-or-later
"""fake_control.py: a control socket whose replies a test chooses.

For replies that no broker sends, or only after hours.
"""

import json
import os
import socket
import tempfile
import threading

from fixture import run_ctl


class FakeControl:
    """Answers each request with a reply, as a context.

    The reply is bytes, or an object, or a function that makes one of a
    request.
    """

    def __init__(self, reply):
        self.reply = reply
        self.where = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.where.name, 'control.sock')
        self.requests = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            connection, _ = self.listener.accept()
            with connection, connection.makefile('rb') as lines:
                line = lines.readline()
                if not line:
                    return
                while line:
                    self.requests.append(json.loads(line))
                    connection.sendall(self._answer(self.requests[-1]))
                    if isinstance(self.reply, bytes):
                        break   # which may be no whole line
                    line = lines.readline()

    def _answer(self, request):
        if isinstance(self.reply, bytes):
            return self.reply
        reply = self.reply(request) if callable(self.reply) else self.reply
        return json.dumps(reply).encode() + b'\n'

    def ctl(self, *arguments, **more):
        """guest-ksmctl on this socket."""
        return run_ctl('--socket', self.path, *arguments, **more)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.path)
        self.thread.join()
        self.listener.close()
        self.where.cleanup()
