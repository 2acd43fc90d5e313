# SPDX-License-Identifier: GPL-2.0-or-later
"""test-devices.py: devices of the host in the hands of a guest.

A VFIO or vDPA device reads and writes guest memory by itself, at addresses
that must not change: while a guest has one, nothing of it is moved.
"""

import os
import subprocess
import tempfile

from inside import write
from tap import check, run, say, wait_until
from world import BUILD, MIB, World, memory

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


class Vdpa:
    """A vDPA device: a disk that a process serves (VDUSE)."""

    DAEMON = os.path.join(BUILD, 'qemu', 'storage-daemon',
                          'qemu-storage-daemon')
    NAME = 'ksm0'
    PATH = '/dev/vhost-vdpa-0'

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix='ksm-vdpa-')
        self.daemon = None

    def __enter__(self):
        subprocess.run(['modprobe', '-a', 'vduse', 'vhost_vdpa'], check=True)
        disk = os.path.join(self.dir.name, 'disk')
        with open(disk, 'wb') as file:
            file.truncate(MIB)
        self.daemon = subprocess.Popen(
            [self.DAEMON, '--blockdev',
             f'driver=file,node-name=disk,filename={disk}', '--export',
             f'vduse-blk,id=disk,node-name=disk,name={self.NAME}'])
        wait_until(lambda: os.path.exists(f'/dev/vduse/{self.NAME}'), 30,
                   'the disk is exported')
        subprocess.run(['vdpa', 'dev', 'add', 'name', self.NAME,
                        'mgmtdev', 'vduse'], check=True)
        wait_until(lambda: os.path.exists(self.PATH), 30, 'a vDPA device')
        return self

    def __exit__(self, kind, value, trace):
        subprocess.run(['vdpa', 'dev', 'del', self.NAME], check=False)
        self.daemon.kill()
        self.daemon.wait()
        self.dir.cleanup()


def moves(guest):
    """What it has moved so far, there or back."""
    stats = guest.ksm_stats()
    return stats['merges'] + stats['zero-merges'] + stats['windows']


def check_pinned(guest):
    """Devices of the host may use all memory by its physical address."""
    pinned_kb = 0
    with open(f'/proc/{guest.pid}/status', encoding='utf-8') as file:
        for line in file:
            if line.startswith('VmLck:'):
                pinned_kb = int(line.split()[1])
    check(pinned_kb >= MEM_MIB * 1024, 'memory is not pinned')


def check_stands_aside(world, guest, other):
    """It moves nothing, whatever is written and however long it is calm."""
    wait_until(lambda: guest.ksm_stats().get('stand-aside', '').startswith(
        'a device'), 20, 'the guest with the device stands aside')
    check(guest.ksm_stats()['state'] == 'stood-aside', 'its state differs')
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


def eject_and_share(world, guest, other):
    """The guest goes on moving pages, and all is whole."""
    before = moves(guest)
    eject(guest)
    took = wait_until(lambda: moves(guest) > before, 90,
                      f'{guest.name} goes on')
    say(f'it moves pages {took:.1f} s after the device went, and shares '
        f'{wait_sharing(guest):.1f} s later')
    for member in (guest, other):
        world.wait_pass(member)
    world.check_intact()


def a_vfio_device_is_there_from_the_start():
    """Nothing is shared until it is unplugged."""
    address = device_for_guests()
    with World('tcg', MEM_MIB) as world:
        other = world.add(LOAD)
        guest = world.add(LOAD, qemu_args=[
            '-device', f'vfio-pci,host={address},id=host0,addr={SLOT:#x}'])
        world.wait_filled()
        check_stands_aside(world, guest, other)
        check_pinned(guest)
        check(guest.ksm_stats()['pages-sharing'] == 0, 'it shares')
        eject_and_share(world, guest, other)


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
        check_pinned(guest)
        private = guest.page_kinds().count(memory.PRIVATE)
        say(f'{private} pages of {guest.ram_pages()} are its own')
        check(private == guest.ram_pages(), 'the device could write to slots')
        eject_and_share(world, guest, other)


def a_vdpa_device_is_plugged_into_a_guest_that_shares():
    """This one pins nothing, and the guest does not use it: with private
    memory it could not."""
    with Vdpa() as device, World('tcg', MEM_MIB) as world:
        other, guest = world.add(LOAD), world.add(LOAD)
        world.wait_filled()
        wait_sharing(guest)
        guest.qmp.command('device_add', driver='vhost-vdpa-device-pci',
                          vhostdev=device.PATH, id='host0',
                          addr=f'{SLOT:#x}')
        check_stands_aside(world, guest, other)
        eject_and_share(world, guest, other)


run([a_vfio_device_is_there_from_the_start,
     a_vfio_device_is_plugged_into_a_guest_that_shares,
     a_vdpa_device_is_plugged_into_a_guest_that_shares])
