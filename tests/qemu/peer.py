# SPDX-License-Identifier: GPL-2.0-or-later
"""peer.py: the other ends of tiny guests' network cards (parameter `net`).

Each frame is sent back as it came, in order, after a while; its sum is checked
on the way.  What a frame should hold only the guest knows.
"""

import collections
import random
import select
import socket
import struct
import threading
import time

from device_watch import DeviceWatch
from tap import check, say, wait_until

HEADER = struct.Struct('<14sII')        # Ethernet's, number, sum
FRAME_BYTES = HEADER.size + 4096
FRAME_TYPE = 0x88b5             # for local experiments
BUFFER_BYTES = 4 << 20
UNDER_WAY = 32
LOAD = ('share=60 zero=10 fill=10 write_pct=1 pause_ms=20 '
        f'net={UNDER_WAY}')


class Peer(threading.Thread):
    """Sends back what comes to a socket of frames."""

    def __init__(self, link, target=None, hold_seconds=0.3):
        super().__init__(daemon=True)
        self.link = link
        self.target = target    # where to, for a socket that is not connected
        self.hold_seconds = hold_seconds
        self.held = collections.deque()
        self.frames = 0
        self.wrong = 0
        self.spoil = False      # the next one, to see it found
        self._stop_asked = False
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            link.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        link.setblocking(False)
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self._stop_asked = True
        self.join()
        self.link.close()

    def _is_well(self, frame):
        if len(frame) != FRAME_BYTES:
            return False
        _, number, total = HEADER.unpack_from(frame)
        words = memoryview(frame)[HEADER.size:].cast('I')
        return number == self.frames and sum(words) & 0xffffffff == total

    def _take(self):
        frame = self.link.recv(1 << 16)
        self.wrong += not self._is_well(frame)
        self.frames += 1
        # Mostly at once: but then all wait that are behind one that is held.
        hold = random.choice((0, 0, 0, random.random() * self.hold_seconds))
        self.held.append((time.monotonic() + hold, frame))

    def _give(self):
        """All that is due, as far as the other end takes it now."""
        while self.held and self.held[0][0] <= time.monotonic():
            frame = self.held[0][1]
            if self.spoil:
                self.spoil = False
                frame = frame[:-1] + bytes([frame[-1] ^ 1])
            try:
                if self.target:
                    self.link.sendto(frame, self.target)
                else:
                    self.link.send(frame)
            except BlockingIOError:
                return
            self.held.popleft()

    def run(self):
        """The thread."""
        while not self._stop_asked:
            if select.select([self.link], [], [], 0.01)[0]:
                self._take()
            self._give()


class DatagramPeer(Peer):
    """At the other end of QEMU's own `dgram`."""

    def __init__(self, path, **settings):
        self.path = path
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        link.bind(path)
        super().__init__(link, path + '.qemu', **settings)

    def qemu_args(self):
        """QEMU's arguments for the card."""
        return ['-netdev', 'dgram,id=net0,'
                f'local.type=unix,local.path={self.target},'
                f'remote.type=unix,remote.path={self.path}',
                '-device', 'virtio-net-pci,disable-legacy=off,romfile=,'
                'netdev=net0']


class TapPeer(Peer):
    """The host's end of a tap device."""

    def __init__(self, name, **settings):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                             socket.htons(FRAME_TYPE))
        link.bind((name, FRAME_TYPE))
        super().__init__(link, **settings)


class Exchange:
    """A guest and its peer."""

    def __init__(self, guest, peer):
        self.guest = guest
        self.peer = peer
        self.watch = DeviceWatch(guest, 'net')

    def wait_started(self):
        """Until frames have come back."""
        wait_until(lambda: self.watch.poll().get('done', 0) > 0, 60,
                   f'{self.guest.name} has got a frame')

    def check(self, least):
        """All frames came, in order, unchanged, and so many; returns
        query-ksm."""
        figures, stats = self.watch.fresh(), self.guest.ksm_stats()
        say(f'{self.guest.name}: {figures}; ' + ', '.join(
            f'{name} {stats[name]}' for name in (
                'pages-sharing', 'merges', 'breaks', 'given-back',
                'rollbacks', 'refused-dma', 'refused-pinned')))
        check(figures['errors'] == 0, 'frames came in disorder')
        check(self.peer.wrong == 0, f'{self.peer.wrong} frames are wrong')
        check(figures['done'] >= least, 'hardly a frame')
        check(self.peer.frames >= figures['done'], 'who has sent them?')
        check(stats['pages-sharing'] > 0, 'nothing is shared')
        return stats
