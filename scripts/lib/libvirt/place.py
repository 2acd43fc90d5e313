# SPDX-License-Identifier: GPL-2.0-or-later
"""place.py: the private surroundings of a libvirt daemon.

Runs in a mount namespace of its own, as root.  Directories are bound from one
directory outside, so that another instance can reach the sockets; cgroups
from a group made for this instance, so that two daemons, which name their
machines alike, do not touch each other's.
"""

import grp
import os
import pwd
import re
import stat
import subprocess

# What libvirt, and our broker, keep where; below the instance's directory.
DIRECTORIES = {'run': '/run/libvirt', 'etc': '/etc/libvirt',
               'lib': '/var/lib/libvirt', 'cache': '/var/cache/libvirt',
               'log': '/var/log/libvirt', 'broker': '/run/guest-ksm'}
# As udev's own rules have it; of another device contrib/libvirt's rule tells.
KVM = ('kvm', 0o660)
DEVICES = ('kvm', 'userfaultfd')
ACCOUNTS = {'libvirt-qemu': 64055, 'guest-ksm': 64056}
# What QEMU's user is to be a member of.
ADMITTED = ('kvm', 'guest-ksm')
CGROUPS = '/sys/fs/cgroup'
CONTRIB = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       '../../../contrib/libvirt')
QEMU_CONF = os.path.join(CONTRIB, 'qemu.conf')
UDEV_RULES = os.path.join(CONTRIB, '70-guest-ksm.rules')


def mount(*arguments):
    """mount(8), which must succeed."""
    subprocess.run(['mount', *arguments], check=True)


def write(path, text):
    """A file with that text."""
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)


def _closed_above(path):
    """The highest directory that others may not pass on the way, or None."""
    parts = path.split('/')
    for count in range(2, len(parts)):
        above = '/'.join(parts[:count])
        if not os.stat(above).st_mode & stat.S_IXOTH:
            return above
    return None


def open_way(paths):
    """Lets QEMU's user reach these, as below a home directory.

    What else is in a directory that is closed to others is hidden, then.
    """
    handles = {path: os.open(path, os.O_PATH) for path in paths
               if os.path.isdir(path)}
    closed = {path: _closed_above(path) for path in handles}
    for above in sorted({above for above in closed.values() if above}):
        mount('-t', 'tmpfs', '-o', 'mode=755', 'ksm-libvirt', above)
    for path, above in closed.items():
        if above:
            os.makedirs(path, exist_ok=True)
            mount('--no-canonicalize', '--bind',
                  f'/proc/{os.getpid()}/fd/{handles[path]}', path)
    for handle in handles.values():
        os.close(handle)


def bind_directories(top):
    """libvirt's directories; missing mount points are made and stay."""
    for name, place in DIRECTORIES.items():
        path = os.path.join(top, name)
        os.makedirs(path, exist_ok=True)
        os.makedirs(place, exist_ok=True)
        mount('--bind', path, place)


def _lines_with(path, lines, missing):
    with open(path, encoding='utf-8') as file:
        text = file.read()
    return text + ''.join(line for name, line in lines.items()
                          if missing(name))


def _has(look_up, name):
    try:
        look_up(name)
        return True
    except KeyError:
        return False


def bind_accounts(top):
    """QEMU's and the broker's user, where the host has none."""
    passwd = _lines_with(
        '/etc/passwd',
        {name: f'{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n'
         for name, uid in ACCOUNTS.items()},
        lambda name: not _has(pwd.getpwnam, name))
    group = _lines_with(
        '/etc/group',
        {**{name: f'{name}:x:{gid}:\n' for name, gid in ACCOUNTS.items()},
         'kvm': f'kvm:x:{ACCOUNTS["libvirt-qemu"] + 2}:\n'},
        lambda name: not _has(grp.getgrnam, name))
    lines = group.splitlines()
    for index, line in enumerate(lines):
        name, _, _, members = line.split(':')
        if name in ADMITTED and 'libvirt-qemu' not in members.split(','):
            lines[index] += (',' if members else '') + 'libvirt-qemu'
    for name, text in (('passwd', passwd),
                       ('group', '\n'.join(lines) + '\n')):
        path = os.path.join(top, name)
        write(path, text)
        mount('--bind', path, f'/etc/{name}')


def own_broker_directory():
    """The broker's user makes its sockets there."""
    user = pwd.getpwnam('guest-ksm')
    os.chown(DIRECTORIES['broker'], user.pw_uid, user.pw_gid)


def _ruled(name):
    """(group, mode) that the shipped udev rule gives a device."""
    with open(UDEV_RULES, encoding='utf-8') as file:
        lines = [line for line in file if not line.startswith('#')]
    for line in lines:
        keys = dict(re.findall(r'(\w+)==?"([^"]*)"', line))
        if keys.get('KERNEL') == name:
            return keys.get('GROUP', 'root'), int(keys.get('MODE', '600'), 8)
    return 'root', 0o600


def bind_devices(top, without):
    """Nodes for QEMU's user, whoever may use the host's."""
    path = os.path.join(top, 'dev')
    os.makedirs(path, exist_ok=True)
    mount('-t', 'tmpfs', '-o', 'mode=755', 'ksm-libvirt', path)
    for name in DEVICES:
        group, mode = KVM if name == 'kvm' else _ruled(name)
        host, node = f'/dev/{name}', os.path.join(path, name)
        if not os.path.exists(host):
            continue
        os.mknod(node, stat.S_IFCHR | 0o600, os.stat(host).st_rdev)
        if name not in without:
            os.chmod(node, mode)
            os.chown(node, 0, grp.getgrnam(group).gr_gid)
        mount('--bind', node, host)


def _cgroup_mounts():
    """(mount point, type) of the hierarchies, as libvirt finds them."""
    with open('/proc/self/mounts', encoding='utf-8') as file:
        fields = [line.split() for line in file]
    return [(place, kind) for _, place, kind, *_ in fields
            if kind in ('cgroup', 'cgroup2') and place.startswith(CGROUPS)]


def _inherit_cpuset(above, group):
    for name in ('cpuset.cpus', 'cpuset.mems'):
        try:
            with open(os.path.join(above, name), encoding='utf-8') as file:
                write(os.path.join(group, name), file.read())
        except OSError:         # another controller, or cgroup2
            pass


def bind_cgroups(name):
    """A group of our own is the top of each hierarchy; returns them."""
    groups = []
    for place, kind in _cgroup_mounts():
        group = os.path.join(place, name)
        try:
            os.mkdir(group)
        except OSError:
            continue            # read-only: libvirt does without
        groups.append(group)
        if kind == 'cgroup2':
            with open(os.path.join(place, 'cgroup.controllers'),
                      encoding='utf-8') as file:
                for controller in file.read().split():
                    try:
                        write(os.path.join(place, 'cgroup.subtree_control'),
                              '+' + controller)
                    except OSError:
                        pass
        _inherit_cpuset(place, group)
        mount('--bind', group, place)
    return groups


def remove_cgroups(groups):
    """From outside of the namespace, when nobody is in them any more."""
    for group in groups:
        for path, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                pass


def configure(uuid, qemu_lines):
    """libvirt's configuration files; further lines for qemu.conf win."""
    etc = DIRECTORIES['etc']
    with open(QEMU_CONF, encoding='utf-8') as file:
        shipped = file.read()
    keys = [line.partition('=')[0].strip() for line in qemu_lines]
    write(os.path.join(etc, 'qemu.conf'), '\n'.join([
        'user = "libvirt-qemu"', 'group = "libvirt-qemu"', *qemu_lines,
        '' if 'cgroup_device_acl' in keys else shipped, '']))
    common = (f'host_uuid = "{uuid}"\nauth_unix_rw = "none"\n'
              'auth_unix_ro = "none"\n'
              'log_outputs = "2:file:/var/log/libvirt/daemon.log"\n')
    for name in ('libvirtd.conf', 'virtqemud.conf'):
        write(os.path.join(etc, name), common)
    # Consoles are read from their beginning.
    write(os.path.join(etc, 'virtlogd.conf'), 'max_size = 0\n')
    for name in ('qemu-lockd.conf', 'libvirt.conf'):
        write(os.path.join(etc, name), '')
