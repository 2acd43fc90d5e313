# SPDX-License-Identifier: GPL-2.0-or-later
"""test-net.py: frames from and into memory that is merged around them.

By QEMU's own virtio-net; by the host's kernel (vhost) in tests/lab.
"""

import os
import sys

from peer import LOAD, DatagramPeer, Exchange
from tap import check, run, seconds, wait_until
from world import World

ACCEL = sys.argv[1]
MEM_MIB = 32
LEAST = 100                     # frames


def frames_come_back_whole():
    """Two guests, each with a peer of its own."""
    with World(ACCEL, MEM_MIB) as world, \
            DatagramPeer(os.path.join(world.run_dir, 'peer0')) as first, \
            DatagramPeer(os.path.join(world.run_dir, 'peer1')) as second:
        exchanges = [Exchange(world.add(LOAD, qemu_args=peer.qemu_args()),
                              peer) for peer in (first, second)]
        world.wait_filled()
        for exchange in exchanges:
            exchange.wait_started()
        world.run_for(seconds(0.2, 4))
        for exchange in exchanges:
            world.wait_pass(exchange.guest)
            stats = exchange.check(LEAST)
            check(stats['merges'] > 500 and stats['breaks'] > 500, f'{stats}')
        world.check_intact()


def a_wrong_byte_is_found():
    """By the guest, and told once."""
    with World(ACCEL, MEM_MIB) as world, \
            DatagramPeer(os.path.join(world.run_dir, 'peer')) as peer:
        exchange = Exchange(world.add(LOAD, qemu_args=peer.qemu_args()), peer)
        world.wait_filled()
        exchange.wait_started()
        world.check_intact()
        peer.spoil = True
        wait_until(lambda: not peer.spoil, 30, 'a frame is spoilt')
        watch = world.watches[exchange.guest.name]
        wait_until(lambda: watch.poll() or watch.faults, 30, 'it is found')
        world.wait_pass(exchange.guest)
        check(watch.mismatches == 1 and len(watch.faults) == 1,
              '\n'.join(watch.faults))


run([frames_come_back_whole, a_wrong_byte_is_found])
