# SPDX-License-Identifier: GPL-2.0-or-later
"""test-check.py: `guest-ksmctl check` with a libvirtd, right and wrong."""

import json
import os
import subprocess

from fixture import CTL, RUNNER, Fixture, TOP, check, ctl, libvirt_version, \
    run, virsh

PASSED = os.path.join(TOP or '', 'passed.xml')


def lines_of(text):
    """{what: (state, text)} of --json."""
    return {line['what']: (line['state'], line['text'])
            for line in json.loads(text)['checks']}


def elsewhere(command, *options, status=0):
    """What a command prints beside a daemon that is set up otherwise."""
    done = subprocess.run(
        [RUNNER, *options, 'sh', '-c', command], check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8',
        timeout=120, env={key: value for key, value in os.environ.items()
                          if key != 'KSM_LIBVIRT_DIR'})
    check(done.returncode == status, f'{command}: status {done.returncode}: '
          f'{done.stdout}')
    return done.stdout


def test_all_is_right():
    """As libvirt's user, which nobody has to name."""
    with Fixture():
        lines = lines_of(ctl('check', '--json'))
        for what in ('libvirt', 'device', 'userfaultfd', 'socket', 'broker'):
            check(lines[what][0] == 'ok', f'{what}: {lines[what]}')
        check('libvirt-qemu may' in lines['socket'][1], f'{lines}')


def test_another_user():
    """Who may neither use the device nor the socket."""
    with Fixture():
        lines = lines_of(ctl('check', '--json', '--user', 'nobody', status=1)
                         .split('\nguest-ksmctl')[0])
        for what in ('userfaultfd', 'socket'):
            check(lines[what][0] == 'wrong' and 'nobody' in lines[what][1],
                  f'{what}: {lines[what]}')


def device_line(conf, free_for_all='0'):
    """What is said of /dev/userfaultfd with that qemu.conf."""
    root = os.path.join(TOP, 'root')
    for path, text in (('etc/libvirt/qemu.conf', conf),
                       ('proc/sys/vm/unprivileged_userfaultfd',
                        free_for_all)):
        os.makedirs(os.path.dirname(f'{root}/{path}'), exist_ok=True)
        with open(f'{root}/{path}', 'w', encoding='utf-8') as file:
            file.write(text + '\n')
    done = subprocess.run([CTL, 'check', '--json', '--root', root],
                          check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, encoding='utf-8')
    return lines_of(done.stdout)['device']


def test_qemu_conf_is_understood():
    """Over several lines, commented out, missing; and the sysctl."""
    own = device_line('')
    major, minor, _ = map(int, libvirt_version().split('.'))
    wanted = 'ok' if (major, minor) >= (10, 1) else 'wrong'
    check(own[0] == wanted, f'{own}')
    check(device_line('#cgroup_device_acl = [ "/dev/userfaultfd" ]') == own,
          'a comment counts')
    given = 'x = 1\n cgroup_device_acl=[\n "/dev/null",\n "%s"\n]\ny = "]"'
    check(device_line(given % '/dev/userfaultfd')[0] == 'ok', 'lines')
    check(device_line(given % '/dev/kvm')[0] == 'wrong', 'another device')
    check(device_line(given % '/dev/kvm', '1')[0] == 'ok', 'the sysctl')


def test_a_device_that_is_kept_back():
    """Said by check before, and by the domain that does not start."""
    text = elsewhere(f'{CTL} check --json 2>/dev/null; true', '--conf',
                     'cgroup_device_acl = ["/dev/null", "/dev/kvm"]')
    state, words = lines_of(text)['device']
    check(state == 'wrong' and 'cgroup_device_acl' in words, text)
    text = elsewhere(f'{CTL} check --json 2>/dev/null; true', '--without',
                     'userfaultfd')
    state, words = lines_of(text)['userfaultfd']
    check(state == 'wrong' and '/dev/userfaultfd' in words, text)
    with Fixture() as fixture:
        domain = fixture.domain('kept')
        domain.enable()
        with open(PASSED, 'w', encoding='utf-8') as file:
            file.write(virsh('dumpxml', '--inactive', 'kept'))
    text = elsewhere(f'virsh define {PASSED} && virsh start kept',
                     '--without', 'userfaultfd', status=1)
    check('give this user read and write access to /dev/userfaultfd' in text,
          text)


run([test_all_is_right, test_another_user, test_qemu_conf_is_understood,
     test_a_device_that_is_kept_back])
