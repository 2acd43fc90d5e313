# SPDX-License-Identifier: GPL-2.0-or-later
"""test-vhost.py: devices that the host's kernel serves for a guest.

vhost-net's thread reads and writes guest memory by QEMU's addresses: it breaks
shared pages, and waits for windows, as vCPUs do.
"""

import os
import subprocess

from inside import write
from peer import LOAD, Exchange, TapPeer
from tap import check, run, say, seconds
from world import World

MEM_MIB = 16
MTU = 4200                      # a page and what is before it
LEAST = 100                     # frames
FAULTS = 7                      # in /proc/.../stat, behind the name


class Tap:
    """A tap device."""

    def __init__(self, name):
        self.name = name
        subprocess.run(['ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap',
                        'vnet_hdr'], check=True)
        # Nobody else's frames.
        write(f'/proc/sys/net/ipv6/conf/{name}/disable_ipv6', 1)
        subprocess.run(['ip', 'link', 'set', name, 'arp', 'off', 'mtu',
                        str(MTU), 'up'], check=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        subprocess.run(['ip', 'link', 'del', self.name], check=True)

    def qemu_args(self):
        """QEMU's arguments for a card that vhost serves."""
        return ['-netdev', f'tap,id=net0,ifname={self.name},script=no,'
                'downscript=no,vhost=on,vhostforce=on',
                '-device', 'virtio-net-pci,disable-legacy=off,romfile=,'
                'netdev=net0']


def vhost_faults(guest):
    """Page faults so far of the kernel's thread for this guest."""
    tasks = f'/proc/{guest.pid}/task'
    for task in os.listdir(tasks):
        with open(f'{tasks}/{task}/stat', encoding='utf-8') as file:
            before, _, after = file.read().rpartition(')')
        if '(vhost-' in before:
            return int(after.split()[FAULTS])
    raise AssertionError(f'{guest.name}: no thread of vhost')


def unmerge_and_go_on(world, guest):
    """All is given back while frames come and go."""
    guest.set_property('run', 'unmerge')
    world.wait_pass(guest)
    guest.set_property('run', 'run')
    world.wait_pass(guest)


def load_vhost(*settings):
    """The kernel's module, anew."""
    subprocess.run(['modprobe', '-a', 'tun', 'vhost_net'], check=True)
    subprocess.run(['rmmod', 'vhost_net'], check=True)
    subprocess.run(['modprobe', 'vhost_net', *settings], check=True)


def exchange_frames(length):
    """Two guests with a card each; pages hold what the other's hold."""
    with Tap('ksm0') as left, Tap('ksm1') as right, \
            World('tcg', MEM_MIB) as world, \
            TapPeer(left.name) as first, TapPeer(right.name) as second:
        exchanges = [Exchange(world.add(LOAD, qemu_args=tap.qemu_args()), peer)
                     for tap, peer in ((left, first), (right, second))]
        world.wait_filled()
        for exchange in exchanges:
            exchange.wait_started()
        world.run_for(length)
        for exchange in exchanges:
            unmerge_and_go_on(world, exchange.guest)
        for exchange in exchanges:
            faults = vhost_faults(exchange.guest)
            say(f'{exchange.guest.name}: {faults} page faults of vhost')
            exchange.check(LEAST)
            check(faults > LEAST, 'vhost has met no shared page')
        world.check_intact()


def vhost_net_copies_to_and_from_shared_memory():
    """As it does by default."""
    load_vhost()
    exchange_frames(seconds(0.4, 4))


def vhost_net_sends_guest_memory_itself():
    """Holding references to it, without pins."""
    load_vhost('experimental_zcopytx=1')
    exchange_frames(seconds(0.2, 2))


run([vhost_net_copies_to_and_from_shared_memory,
     vhost_net_sends_guest_memory_itself])
