# SPDX-License-Identifier: GPL-2.0-or-later
"""test-check.py: `guest-ksmctl check` on hosts that lack something.

Files of the host are created below a directory of the test; libvirt's part
is tested in tests/libvirt.
"""

import json
import os
import tempfile

from fixture import Fixture, tap

FILES = {
    'proc/sys/kernel/osrelease': '6.12.118-test',
    'proc/sys/vm/max_map_count': '1048576',
    'sys/kernel/mm/ksm/run': '0',
    'proc/swaps': 'Filename Type Size Used Priority',
}
SWAP = FILES['proc/swaps'] + '\n/dev/zram0 partition 8388604 0 100'


def checked(fixture, changes=None, options=(), status=None):
    """The lines of a check as {what: (state, text)}, and the status."""
    with tempfile.TemporaryDirectory(prefix='ksm-check-') as root:
        for path, text in {**FILES, **(changes or {})}.items():
            if text is not None:
                os.makedirs(os.path.dirname(f'{root}/{path}'), exist_ok=True)
                with open(f'{root}/{path}', 'w', encoding='utf-8') as file:
                    file.write(text + '\n')
        arguments = ('--json', 'check', '--root', root, *options)
        out, _ = fixture.ctl(*arguments, status=status)
        text, _ = fixture.ctl(*arguments[1:], status=status)
    reply = json.loads(out)
    lines = {line['what']: (line['state'], line['text'])
             for line in reply['checks']}
    wrong = [line for line in lines.values() if line[0] == 'wrong']
    tap.check(reply['wrong'] == len(wrong) and
              (status == 0) == (not wrong), f'{status}: {lines}')
    for state, words in lines.values():
        tap.check(words in text and
                  (state if state != 'wrong' else 'WRONG') in text, text)
    return lines


def test_a_good_host():
    """No line is wrong, and the status is 0."""
    with Fixture() as fixture:
        lines = checked(fixture, options=['--broker', fixture.socket.replace(
            'control', 'broker')], status=0)
        for what in ('kernel', 'mappings', 'kernel KSM', 'broker',
                     'userfaultfd', 'socket'):
            tap.check(lines[what][0] == 'ok', f'{what}: {lines[what]}')


def test_what_is_wrong():
    """Each says so, with what to do."""
    rows = (
        ({'proc/sys/kernel/osrelease': '6.7.12'}, 'kernel', 'wrong',
         'run 6.12 or later'),
        ({'proc/sys/kernel/osrelease': '5.10.0-30-amd64'}, 'kernel', 'wrong',
         'run 6.12 or later'),
        ({'proc/sys/kernel/osrelease': None}, 'kernel', 'advice',
         'cannot be read'),
        ({'proc/sys/vm/max_map_count': '65530'}, 'mappings', 'advice',
         'set it to 1048576'),
        ({'sys/kernel/mm/ksm/run': '1'}, 'kernel KSM', 'advice', 'echo 2 >'),
        ({'sys/kernel/mm/ksm/run': None}, 'kernel KSM', 'ok', 'none'),
    )
    with Fixture() as fixture:
        for changes, what, state, words in rows:
            lines = checked(fixture, changes, [
                '--broker', fixture.socket.replace('control', 'broker')],
                int(state == 'wrong'))
            tap.check(lines[what][0] == state and words in lines[what][1],
                      f'{changes}: {lines[what]}')


def test_kernels():
    """What is known of a release, with swap and without."""
    huge = {'sys/kernel/mm/transparent_hugepage/shmem_enabled':
            'always [within_size] advise never deny force'}
    rows = (
        # release, swap, more files, state, words there, words not there
        ('6.12.20', True, {}, 'wrong',
         ('CVE-2025-38242', 'swap is on: update to 6.12.37, or switch swap '
          'off', 'CVE-2025-38686', 'update to 6.12.118 for all'), ()),
        ('6.12.20', False, {}, 'advice',
         ('were swap on (CVE-2025-38242', 'update to 6.12.118'), ('37',)),
        ('6.12.19', False, {}, 'advice',
         ('a crash of the host (CVE-2025-38686)',
          'a crash of the host, were swap on (CVE-2025-21984)'), ()),
        ('6.8.5', True, {}, 'wrong',
         ('CVE-2024-36943, CVE-2025-38242', 'update to 6.12.37'), ()),
        ('6.14.11', True, {}, 'wrong', ('update to 6.15.5',), ()),
        ('6.12.43+deb13-amd64', True, {}, 'advice',
         ('058313515d5a', 'update to 6.12.118'), ('38242', 'vendor')),
        ('6.12.43+deb13-amd64', True, huge, 'wrong',
         ('swapped (058313515d5a)', 'update to 6.12.78'), ('38242',)),
        ('6.12.43+deb13-amd64', False, huge, 'advice', ('were swap on',), ()),
        ('6.18.20', True, {}, 'advice',
         ('8e80af52db65', 'update to 6.18.40 (move-livelock: to 7.3.4)'),
         ('memory',)),
        ('6.8.0-31-generic', True, {}, 'advice',
         ('cannot be determined from the version', 'CVE-2025-38242',
          'switch swap off until then'), ('update',)),
        ('6.12.0-55.9.1.el10_0.x86_64', False, {}, 'advice',
         ('cannot be determined from the version', 'CVE-2025-38242'),
         ('swap', 'CVE-2024-36943')),
        ('6.12.118+deb13-amd64', True, huge, 'ok', ('Linux 6.12.118+',), ()),
        ('7.3.4', True, huge, 'ok', ('Linux 7.3.4',), ()),
        ('7.4.0-rc2', True, {}, 'ok', (), ()),
    )
    with Fixture() as fixture:
        for release, swap, more, state, there, gone in rows:
            changes = {'proc/sys/kernel/osrelease': release, **more}
            if swap:
                changes['proc/swaps'] = SWAP
            line = checked(fixture, changes, [
                '--broker', fixture.socket.replace('control', 'broker')],
                int(state == 'wrong'))['kernel']
            tap.check(line[0] == state and
                      all(words in line[1] for words in there) and
                      not any(words in line[1] for words in gone),
                      f'{release}, swap {swap}: {line}')


HEAD = '7f0000000000-7f0000100000 rw-p 00000000 00:00 0 '
STORE = ('7f0000000000-7f0000100000 rw-p 00000000 00:01 77 '
         '        /memfd:ksm-store:web (deleted)')
NOT_MERGED = 'ksm_rmap_items 0\nksm_merge_any: no\nksm_mergeable: no'


def smaps(*mappings):
    """An smaps of (first line, flags)."""
    return '\n'.join(f'{head}\nSize: 1024 kB\nVmFlags: {flags} '
                     for head, flags in mappings)


def test_kernel_ksm():
    """The kernel's KSM runs: what it may take of a VM."""
    heap = ('560000000000-560000100000 rw-p 00000000 00:00 0 [heap]',
            'rd wr mr mw me ac mg')
    ram = (HEAD, 'rd wr mr mw me dc ac uw')
    rows = (
        # ksm_merging_pages, ksm_stat, smaps; state, words
        ('0', NOT_MERGED, None, 'advice', 'memory of 1 VMs here is excluded'),
        ('7', NOT_MERGED.replace('any: no', 'any: yes'), smaps(heap, ram),
         'advice', 'memory of 1 VMs here is excluded'),
        ('7', NOT_MERGED.replace('any: no', 'any: yes'),
         smaps(heap, (HEAD, ram[1] + ' mg')), 'wrong', "'web1' (PID "),
        ('0', NOT_MERGED.replace('mergeable: no', 'mergeable: yes'),
         smaps((STORE, 'rd wr mr mw me dc mg'), ram), 'wrong',
         'in 1 mappings: start QEMU without PR_SET_MEMORY_MERGE'),
        # Staging, but not what QEMU offers by itself, as its other RAM.
        ('0', 'ksm_rmap_items 0', smaps((HEAD, 'rd wr mr mw me um mg'),
                                        (HEAD, 'rd wr mr mw me dc mg')),
         'wrong', 'in 1 mappings'),
        ('9', 'ksm_rmap_items 9', smaps(ram, (HEAD, 'rd wr mr mw me dc mg')),
         'advice', 'is excluded from'),
        # An older kernel's ksm_stat leaves open what the flags say.
        ('0', 'ksm_rmap_items 0', smaps(heap, ram), 'advice', 'excluded from'),
        ('0', 'ksm_rmap_items 0', None, 'advice', 'cannot be read: run this'),
        (None, None, None, 'advice', '1 of 1 VMs'),
    )
    with Fixture() as fixture:
        _, pid = fixture.remote('web1/ram0', 'web', 64)
        for merging, stat, maps, state, words in rows:
            changes = {'sys/kernel/mm/ksm/run': '1',
                       f'proc/{pid}/ksm_merging_pages': merging,
                       f'proc/{pid}/ksm_stat': stat,
                       f'proc/{pid}/smaps': maps}
            line = checked(fixture, changes, [
                '--broker', fixture.socket.replace('control', 'broker')],
                int(state == 'wrong'))['kernel KSM']
            tap.check(line[0] == state and words in line[1],
                      f'{merging}, {stat}, {maps}: {line}')


def test_the_socket():
    """That of guests: missing, or nobody's."""
    with Fixture() as fixture:
        lines = checked(fixture, options=['--broker', '/no/broker.sock'],
                        status=1)
        tap.check(lines['socket'][0] == 'wrong' and
                  'start guest-ksmd there' in lines['socket'][1], str(lines))
        if os.geteuid() == 0:
            lines = checked(fixture, options=['--user', 'nobody'], status=1)
            tap.check(lines['socket'][0] == 'wrong', str(lines))
        lines = checked(fixture, options=['--user', 'no-such-user'], status=1)
        tap.check("no user 'no-such-user'" in lines['user'][1], str(lines))


def test_no_broker():
    """It is wrong, and named."""
    with Fixture() as fixture:
        fixture.socket = '/no/control.sock'
        lines = checked(fixture, status=1)
        tap.check(lines['broker'][0] == 'wrong' and
                  '/no/control.sock' in lines['broker'][1], str(lines))


tap.run([test_a_good_host, test_what_is_wrong, test_kernels, test_kernel_ksm,
         test_the_socket, test_no_broker])
