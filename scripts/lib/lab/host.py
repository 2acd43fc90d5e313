# SPDX-License-Identifier: GPL-2.0-or-later
"""host.py: a whole host in a VM that runs one command.

Its root is guest-images/host; a second disk has this tree's scripts and tests
and what is built in build/plugin and build/qemu, at the same paths as here.
Nothing that is written there comes back but the command's output and status.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, '..', '..', '..'))
BUILD = os.path.realpath(os.environ.get('KSM_BUILD',
                                        os.path.join(ROOT, 'build')))
sys.path.insert(0, os.path.join(ROOT, 'scripts', 'lib', 'guests'))
sys.path.insert(0, HERE)

import tsc                                          # noqa: E402
from vm import Config, Guest, GuestError            # noqa: E402

QEMU = os.path.join(BUILD, 'qemu', 'qemu-system-x86_64')
IMAGE = os.path.join(BUILD, 'guests', 'host')
BOOT_SECONDS = 240
TREES = ('contrib', 'guest-images', 'scripts', 'tests')
BUILT = ('qemu/qemu-system-x86_64', 'qemu/qemu-img',
         'qemu/storage-daemon/qemu-storage-daemon', 'guests/tiny.elf')
# A drive whose transfers are under way for long.
NVME_BYTES = 64 << 20
NVME_IOPS = 200
MACHINE = 'q35,kernel-irqchip=split'
# edu and the NVMe drive are for guests in the lab; all behind the IOMMU.
DEVICES = ('-device', 'intel-iommu,intremap=on',
           '-device', 'edu', '-device', 'e1000e,romfile=')
KERNEL = ('root=/dev/vda console=ttyS0 quiet panic=-1 mitigations=off '
          'no_timer_check tsc=reliable intel_iommu=on')


def shell_command(words, environment=()):
    """A program with its arguments, as a command for a Host; it finds what
    is built by its environment, as tests do outside."""
    plugin = os.path.join(BUILD, 'plugin')
    return 'exec ' + shlex.join([
        'env', f'KSM_BUILD={BUILD}', f'GUEST_KSMD={plugin}/guest-ksmd',
        f'GUEST_KSMCTL={plugin}/guest-ksmctl',
        f'CTL_ENGINES={plugin}/tests/ctl/ctl-engines',
        'PYTHONDONTWRITEBYTECODE=1', *environment, *words])


class LabError(Exception):
    """The host did not start, or ended without a status."""


def _link_tree(source, target):
    """Hard links of all files, as a copy costs more."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)


def _stage_plugin(top):
    """Programs and libraries of build/plugin, without what made them."""
    plugin = os.path.join(BUILD, 'plugin')
    for path, directories, files in os.walk(plugin):
        directories[:] = [name for name in directories
                          if not name.endswith('.p') and
                          not name.startswith('meson-')]
        for name in files:
            file = os.path.join(path, name)
            if os.access(file, os.X_OK) or '.so' in name:
                target = os.path.join(top, os.path.relpath(file, BUILD))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(file, target, follow_symlinks=False)


def make_disk(disk):
    """The second disk; links in its place on this file system."""
    with tempfile.TemporaryDirectory(prefix='lab-', dir=BUILD) as stage:
        for name in TREES:
            _link_tree(os.path.join(ROOT, name), os.path.join(stage, name))
        build = os.path.join(stage, 'build')
        _stage_plugin(build)
        for name in BUILT:
            if os.path.exists(os.path.join(BUILD, name)):
                target = os.path.join(build, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(os.path.join(BUILD, name), target)
        bundle = os.path.join(build, 'qemu', 'qemu-bundle', 'usr')
        os.makedirs(bundle)
        for name in ('share', 'lib'):
            os.symlink(f'/usr/{name}', os.path.join(bundle, name))
        with open(disk, 'wb') as file:
            file.truncate(1 << 30)
        subprocess.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-d', stage, disk],
                       check=True, stdout=subprocess.DEVNULL)


class Host(Guest):
    """The VM; `command` is for bash, in the root of the tree."""

    def __init__(self, run_dir, command, mem_mib=4096, cpus=2, qemu_args=(),
                 accel='tcg,thread=multi'):
        super().__init__(Config(
            qemu=QEMU, accel=accel, image=IMAGE, mem_bytes=mem_mib << 20,
            run_dir=run_dir, qemu_args=tuple(qemu_args)), 0, 'lab')
        self.cpus = cpus
        self.disk = os.path.join(run_dir, 'tree.img')
        with open(self.path('nvme.img'), 'wb') as file:
            file.truncate(NVME_BYTES)
        self._write('given-root', ROOT)
        self._write('given-build', BUILD)
        self._write('given-command', command)

    def path(self, name):
        """A file of this run."""
        return os.path.join(self.config.run_dir, name)

    def _write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)

    def _nodes(self):
        half = self.config.mem_bytes >> 21
        words = []
        for node in (0, 1):
            words += ['-object', f'memory-backend-ram,id=m{node},size={half}M',
                      '-numa', f'node,nodeid={node},memdev=m{node}']
        for cpu in range(self.cpus):
            node = cpu * 2 // self.cpus
            words += ['-numa', f'cpu,node-id={node},socket-id={cpu},'
                      'core-id=0,thread-id=0']
        return words

    def _ports(self):
        words = ['-device', 'virtio-serial-pci']
        for name in ('out', 'err', 'status'):
            words += ['-chardev', f'file,id={name},path={self.path(name)}',
                      '-device', f'virtserialport,chardev={name}']
        return words

    def _given(self):
        words = []
        for name in ('root', 'build', 'command'):
            words += ['-fw_cfg', f'name=opt/lab/{name},'
                      f'file={self.path("given-" + name)}']
        return words

    def command(self):
        """QEMU's command line."""
        config = self.config
        return [config.qemu, '-name', 'lab', '-accel', config.accel,
                '-machine', MACHINE, '-cpu', 'max,la57=off',
                '-m', f'{config.mem_bytes >> 20}M',
                '-smp', f'{self.cpus},sockets={self.cpus}', *self._nodes(),
                '-nodefaults', '-no-user-config', '-display', 'none',
                '-no-reboot',
                '-qmp', f'unix:{self.qmp_socket},server=on,wait=off',
                '-serial', f'file:{self.console_log}',
                '-kernel', f'{config.image}/vmlinuz',
                '-initrd', f'{config.image}/initrd.img',
                '-append', f'{KERNEL} tsc_early_khz={tsc.khz()}',
                '-drive', f'file={config.image}/disk.img,format=raw,'
                'if=virtio,snapshot=on',
                '-drive', f'file={self.disk},format=raw,if=virtio',
                '-drive', f'file={self.path("nvme.img")},format=raw,if=none,'
                f'id=nvme,throttling.iops-total={NVME_IOPS}',
                '-device', 'nvme,serial=lab,drive=nvme',
                '-device', 'virtio-rng-pci', *DEVICES,
                *self._ports(), *self._given(), *config.qemu_args]

    def status(self):
        """The command's, once the host is off."""
        try:
            with open(self.path('status'), encoding='utf-8') as file:
                return int(file.read())
        except (OSError, ValueError) as error:
            raise LabError('the host went off without a status: '
                           f'{self.why_ended()}\n{self.last_words()}') \
                from error

    def last_words(self):
        """The end of its console."""
        try:
            with open(self.console_log, encoding='utf-8',
                      errors='replace') as file:
                return '\n'.join(file.read().splitlines()[-40:])
        except FileNotFoundError:
            return '(nothing)'


class Tail:
    """Copies what comes to a file to a stream."""

    def __init__(self, path, stream):
        self.path = path
        self.stream = stream
        self.at = 0

    def poll(self):
        """What is new."""
        try:
            with open(self.path, 'rb') as file:
                file.seek(self.at)
                data = file.read()
        except FileNotFoundError:
            return
        if data:
            self.at += len(data)
            self.stream.write(data)
            self.stream.flush()


def run(command, seconds, out, err, **settings):
    """Boots, runs, and returns the status; output goes to the streams."""
    run_dir = tempfile.mkdtemp(prefix='ksm-lab-')
    host = Host(run_dir, command, **settings)
    tails = [Tail(host.path('out'), out), Tail(host.path('err'), err)]
    try:
        make_disk(host.disk)
        host.start()
        host.wait_line('^LAB up', BOOT_SECONDS)
        deadline = time.monotonic() + seconds
        while host.alive():
            for tail in tails:
                tail.poll()
            if time.monotonic() > deadline:
                raise LabError(f'not done in {seconds} s; the console: '
                               f'{host.last_words()}')
            time.sleep(0.05)
        for tail in tails:
            tail.poll()
        return host.status()
    except GuestError as error:
        raise LabError(f'{error}; the console: {host.last_words()}') from error
    finally:
        host.kill()
        shutil.rmtree(run_dir, ignore_errors=True)
