# SPDX-License-Identifier: GPL-2.0-or-later
"""test-devices.py: devices of the host in the hands of a guest.

A VFIO device reads and writes guest memory by itself, at addresses that must
not change: while a guest has one, nothing of it is moved.
"""

import os
import subprocess

from inside import write
from tap import check, run, say, wait_until
from world import World, memory

LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
MEM_MIB = 16
SHARED = 1000
EDU = '0x1234'                  # the vendor of QEMU's edu device
PCI = '/sys/bus/pci'
EJECT = 0xae08                  # of the pc machine's PCI hotplug
SLOT = 9


def device_for_guests():
    """Gives the edu device to vfio-pci; its address."""
    for address in os.listdir(f'{PCI}/devices'):
        with open(f'{PCI}/devices/{address}/vendor', encoding='utf-8') as file:
            if file.read().strip() == EDU and \
               os.path.exists(f'{PCI}/devices/{address}/iommu_group'):
                break
    else:
        raise AssertionError('the lab has no edu device')
    subprocess.run(['modprobe', 'vfio-pci'], check=True)
    if not os.path.exists(f'{PCI}/drivers/vfio-pci/{address}'):
        write(f'{PCI}/devices/{address}/driver_override', 'vfio-pci')
        write(f'{PCI}/drivers_probe', address)
    return address


def moves(guest):
    """What it has moved so far, there or back."""
    stats = guest.ksm_stats()
    return stats['merges'] + stats['zero-merges'] + stats['windows']


def pinned_kb(guest):
    """Memory that devices of the host may use by its physical address."""
    with open(f'/proc/{guest.pid}/status', encoding='utf-8') as file:
        for line in file:
            if line.startswith('VmLck:'):
                return int(line.split()[1])
    return 0


def check_stands_aside(world, guest, other):
    """It moves nothing, whatever is written and however long it is calm."""
    wait_until(lambda: guest.ksm_stats()['state'] == 'stood-aside', 20,
               'the guest with the device stands aside')
    say(f"it stands aside: {guest.ksm_stats()['stand-aside']}")
    check(pinned_kb(guest) >= MEM_MIB * 1024, 'memory is not pinned')
    before, others = moves(guest), moves(other)
    for _ in range(2):
        world.wait_pass(guest)
    wait_until(lambda: moves(other) > others, 60, 'the other goes on')
    check(moves(guest) == before, 'pages were moved under the device')
    check(guest.ksm_stats()['state'] == 'stood-aside', 'it went on')


def wait_sharing(guest):
    """Until it shares."""
    return wait_until(lambda: guest.ksm_stats()['pages-sharing'] > SHARED, 90,
                      f'{guest.name} shares')


def eject(guest):
    """What the guest's system does when it is asked to give the device up."""
    guest.qmp.command('device_del', id='host0')
    guest.qmp.monitor(f'o /4 {EJECT + 8:#x} 0')
    guest.qmp.monitor(f'o /4 {EJECT:#x} {1 << SLOT:#x}')
    wait_until(lambda: 'host0' not in guest.qmp.monitor('info qtree'), 20,
               'the device is gone')


def a_vfio_device_is_there_from_the_start():
    """Nothing is shared until it is unplugged."""
    address = device_for_guests()
    with World('tcg', MEM_MIB) as world:
        other = world.add(LOAD)
        guest = world.add(LOAD, qemu_args=[
            '-device', f'vfio-pci,host={address},id=host0,addr={SLOT:#x}'])
        world.wait_filled()
        check_stands_aside(world, guest, other)
        check(guest.ksm_stats()['pages-sharing'] == 0, 'it shares')
        eject(guest)
        say(f'shares {wait_sharing(guest):.1f} s after the device went')
        for member in (guest, other):
            world.wait_pass(member)
        world.check_intact()


def a_vfio_device_is_plugged_into_a_guest_that_shares():
    """The kernel gives the guest all of its memory then."""
    address = device_for_guests()
    with World('tcg', MEM_MIB) as world:
        other, guest = world.add(LOAD), world.add(LOAD)
        world.wait_filled()
        wait_sharing(guest)
        wait_sharing(other)
        guest.qmp.command('device_add', driver='vfio-pci', host=address,
                          id='host0', addr=f'{SLOT:#x}')
        check_stands_aside(world, guest, other)
        private = guest.page_kinds().count(memory.PRIVATE)
        say(f'{private} pages of {guest.ram_pages()} are its own')
        check(private == guest.ram_pages(), 'the device could write to slots')
        eject(guest)
        say(f'shares {wait_sharing(guest):.1f} s after the device went')
        for member in (guest, other):
            world.wait_pass(member)
        world.check_intact()


run([a_vfio_device_is_there_from_the_start,
     a_vfio_device_is_plugged_into_a_guest_that_shares])
