# SPDX-License-Identifier: GPL-2.0-or-later
"""test-devices.py: devices of the host that a guest uses.

A device by VFIO, vDPA or vhost-scsi reads and writes guest memory by itself,
at addresses that must not change: while a guest has one, nothing of it is
moved.  The same applies while QEMU drives a disk of the host by VFIO.
"""

import os
import subprocess
import tempfile

from inside import moves, write
from device_watch import DeviceWatch
from tap import check, run, say, wait_until
from world import BUILD, MIB, QmpError, World, memory

LOAD = 'share=60 zero=15 fill=5 write_pct=1 pause_ms=100'
MEM_MIB = 16
SHARED = 1000
EDU = {'vendor': '0x1234'}      # QEMU's edu device
NVME = {'class': '0x010802'}
TRANSFERS = 16                  # kept under way
LEAST = 50
PCI = '/sys/bus/pci'
EJECT = 0xae08                  # of the pc machine's PCI hotplug
SLOT = 9


def read(path):
    """A file of one word."""
    with open(path, encoding='utf-8') as file:
        return file.read().strip()


def find_device(**identity):
    """A device's address by what /sys says of it; it has an IOMMU group."""
    for address in os.listdir(f'{PCI}/devices'):
        path = f'{PCI}/devices/{address}'
        if os.path.exists(f'{path}/iommu_group') and \
           all(read(f'{path}/{name}') == value
               for name, value in identity.items()):
            return address
    raise AssertionError(f'the lab has no device {identity}')


def give_to_driver(address, driver):
    """The device is this driver's from now on."""
    subprocess.run(['modprobe', driver], check=True)
    if not os.path.exists(f'{PCI}/drivers/{driver}/{address}'):
        write(f'{PCI}/devices/{address}/driver_override', driver)
        if os.path.exists(f'{PCI}/devices/{address}/driver'):
            write(f'{PCI}/devices/{address}/driver/unbind', address)
        write(f'{PCI}/drivers_probe', address)


def device_for_guests():
    """Gives the edu device to vfio-pci; its address."""
    address = find_device(**EDU)
    give_to_driver(address, 'vfio-pci')
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


class ScsiTarget:
    """The NVMe drive, which is slow, as a target of the kernel's vhost."""

    TARGET = '/sys/kernel/config/target'
    CORE = f'{TARGET}/core/iblock_0'
    WWN = 'naa.5001405000000001'
    NEXUS = 'naa.5001405000000002'
    VHOST = f'{TARGET}/vhost/{WWN}'

    def __enter__(self):
        give_to_driver(find_device(**NVME), 'nvme')
        wait_until(lambda: os.path.exists('/dev/nvme0n1'), 30, 'a drive')
        subprocess.run(['modprobe', '-a', 'target_core_iblock', 'vhost_scsi'],
                       check=True)
        if not os.path.exists(self.TARGET):
            subprocess.run(['mount', '-t', 'configfs', 'none',
                            '/sys/kernel/config'], check=True)
        os.makedirs(f'{self.CORE}/disk')
        write(f'{self.CORE}/disk/control', 'udev_path=/dev/nvme0n1')
        write(f'{self.CORE}/disk/enable', 1)
        os.makedirs(f'{self.VHOST}/tpgt_1/lun/lun_0')
        write(f'{self.VHOST}/tpgt_1/nexus', self.NEXUS)
        os.symlink(f'{self.CORE}/disk', f'{self.VHOST}/tpgt_1/lun/lun_0/disk')
        return self

    def __exit__(self, kind, value, trace):
        os.unlink(f'{self.VHOST}/tpgt_1/lun/lun_0/disk')
        write(f'{self.VHOST}/tpgt_1/nexus', 'NULL')
        for path in (f'{self.VHOST}/tpgt_1/lun/lun_0', f'{self.VHOST}/tpgt_1',
                     self.VHOST, f'{self.CORE}/disk', self.CORE):
            os.rmdir(path)

    def properties(self):
        """Of the device."""
        return {'driver': 'vhost-scsi-pci', 'wwpn': self.WWN, 'id': 'host0',
                'addr': f'{SLOT:#x}', 'disable-legacy': 'off'}


def check_pinned(guest):
    """Devices of the host may use all memory by its physical address."""
    pinned_kb = 0
    with open(f'/proc/{guest.pid}/status', encoding='utf-8') as file:
        for line in file:
            if line.startswith('VmLck:'):
                pinned_kb = int(line.split()[1])
    check(pinned_kb >= MEM_MIB * 1024, 'memory is not pinned')


def check_stands_aside(world, guest, other, what=''):
    """It moves nothing, whatever is written and however long it is idle."""
    reason = 'a device needs memory that stays where it is' + what
    wait_until(lambda: guest.ksm_stats().get('stand-aside') == reason, 20,
               f'the guest with the device says: {reason}')
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
        check_stands_aside(world, guest, other, ' (VFIO)')
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
        check_stands_aside(world, guest, other, ' (VFIO)')
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


def wait_transfers(watch):
    """Until the guest has read some more of its disk."""
    goal = watch.poll().get('in', 0) + LEAST
    wait_until(lambda: watch.poll().get('in', 0) > goal, 120,
               'the guest reads from its disk')
    check(watch.figures['errors'] == 0, 'the disk has told of errors')
    say(f'{watch.guest.name}: {watch.figures}')


def disk_of_guest(world, qemu_args):
    """A guest that keeps transfers to and from its disk under way."""
    guest = world.add(f'{LOAD} disk={TRANSFERS}', qemu_args=qemu_args)
    world.wait_filled()
    return guest, DeviceWatch(guest, 'disk')


def vhost_scsi_transfers_into_a_guest():
    """Its pages are referenced, not pinned: none of them may be moved."""
    with ScsiTarget() as target, World('tcg', MEM_MIB) as world:
        other = world.add(LOAD)
        guest, watch = disk_of_guest(world, ['-device', ','.join(
            f'{name}={value}' for name, value in target.properties().items())])
        wait_transfers(watch)
        check_stands_aside(world, guest, other, ' (vhost-scsi)')
        check(guest.ksm_stats()['pages-sharing'] == 0, 'it shares')
        wait_transfers(watch)
        eject_and_share(world, guest, other)


def vhost_scsi_is_plugged_into_a_guest_that_shares():
    """What is shared stays so; it goes on when the device is gone."""
    with ScsiTarget() as target, World('tcg', MEM_MIB) as world:
        other, guest = world.add(LOAD), world.add(LOAD)
        world.wait_filled()
        wait_sharing(guest)
        guest.qmp.command('device_add', **target.properties())
        check_stands_aside(world, guest, other, ' (vhost-scsi)')
        eject_and_share(world, guest, other)


def is_deleted(guest, node):
    """Whether that could be deleted; a device uses it for a moment yet."""
    try:
        guest.qmp.command('blockdev-del', node_name=node)
    except QmpError:
        return False
    return True


def qemu_drives_an_nvme_disk_by_vfio():
    """It maps guest memory for the drive when that memory is made."""
    address = find_device(**NVME)
    give_to_driver(address, 'vfio-pci')
    with World('tcg', MEM_MIB) as world:
        other = world.add(LOAD)
        guest, watch = disk_of_guest(world, [
            '-blockdev', f'driver=nvme,node-name=nvme,device={address},'
            'namespace=1', '-device',
            f'virtio-blk-pci,disable-legacy=off,drive=nvme,id=host0,'
            f'addr={SLOT:#x}'])
        wait_transfers(watch)
        check_stands_aside(world, guest, other)
        check_pinned(guest)
        world.check_intact()
        eject(guest)
        wait_until(lambda: is_deleted(guest, 'nvme'), 20, 'the disk is closed')
        wait_sharing(guest)
        world.check_intact()


run([a_vfio_device_is_there_from_the_start,
     a_vfio_device_is_plugged_into_a_guest_that_shares,
     a_vdpa_device_is_plugged_into_a_guest_that_shares,
     vhost_scsi_transfers_into_a_guest,
     vhost_scsi_is_plugged_into_a_guest_that_shares,
     qemu_drives_an_nvme_disk_by_vfio])
