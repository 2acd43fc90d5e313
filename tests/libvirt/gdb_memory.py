# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb_memory.py: guest memory by physical address, over QEMU's gdb server.

The tiny guest uses no memory that is plugged in later, so the test writes
there itself, as a guest would: by QEMU, through the memory's mapping.
"""

import re
import socket

CHUNK = 1024                    # QEMU takes packets of 4096 bytes at most
PACKET = re.compile(rb'\$([^#]*)#..', re.S)


class GdbMemory:
    """Use with `with`: the guest stands still meanwhile, and goes on."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(path)
        self.buffer = b''

    def __enter__(self):
        self._ask('?')          # why it stopped: it has, now
        self._ok('Qqemu.PhyMemMode:1')
        return self

    def __exit__(self, *_):
        self._ok('D')
        self.sock.close()

    def _reply(self):
        """What is between $ and #; a UNIX socket needs no checksum."""
        while not (match := PACKET.search(self.buffer)):
            part = self.sock.recv(65536)
            if not part:
                raise AssertionError('the gdb server hung up')
            self.buffer += part
        self.buffer = self.buffer[match.end():]
        self.sock.sendall(b'+')
        return match[1].decode()

    def _ask(self, text):
        data = text.encode()
        self.sock.sendall(b'$' + data + b'#%02x' % (sum(data) & 255))
        return self._reply()

    def _ok(self, text):
        reply = self._ask(text)
        if reply != 'OK':
            raise AssertionError(f'{text[:40]}: {reply!r}')

    def write(self, address, data):
        """Puts the bytes there."""
        for at in range(0, len(data), CHUNK):
            part = data[at:at + CHUNK]
            self._ok(f'M{address + at:x},{len(part):x}:{part.hex()}')

    def read(self, address, size):
        """The bytes that are there."""
        data = b''
        while len(data) < size:
            count = min(CHUNK, size - len(data))
            data += bytes.fromhex(self._ask(f'm{address + len(data):x},'
                                            f'{count:x}'))
        return data
