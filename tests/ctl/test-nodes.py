# SPDX-License-Identifier: GPL-2.0-or-later
"""test-nodes.py: guest-ksmctl and a group that is restricted to a NUMA node.

Node 0 is enough, because VMs without a node have a store of their own.
"""

import json

from fixture import Fixture, tap

PAGES = 512


def need_numa():
    """Skips where the kernel has no NUMA."""
    try:
        with open('/proc/self/numa_maps', encoding='ascii') as file:
            file.read(1)
    except OSError as error:
        raise tap.Skip('numa', str(error)) from error


def four(fixture):
    """Two VMs of group web that are kept to node 0, two that are not."""
    for name, node in (('any1', ()), ('cell1', (0,)), ('any2', ()),
                       ('cell2', (0,))):
        number, _ = fixture.remote(f'{name}/ram0', 'web', PAGES, *node)
        fixture.fill(number, 0, 200, seed=7)
    fixture.settle(800)
    fixture.ctl('pause', 'group:web')
    for number, name in enumerate(('any1', 'cell1', 'any2', 'cell2')):
        fixture.wait_known(number, f'{name}/ram0')


def test_figures():
    """Each store has figures of its own, and says of which node it is."""
    need_numa()
    with Fixture() as fixture:
        four(fixture)
        groups = json.loads(fixture.ctl('--json', 'status')[0])['groups']
        found = {(group['name'], group['node'], group['vms'],
                  group['sessions'], group['pages_sharing'],
                  group['pages_shared']) for group in groups}
        tap.check(found == {('web', None, 2, 2, 400, 200),
                            ('web', 0, 2, 2, 400, 200)}, f'{found}')
        nodes = {session['vm']: session['node']
                 for session in fixture.sessions()}
        tap.check(nodes == {'any1': None, 'any2': None, 'cell1': 0,
                            'cell2': 0}, f'{nodes}')


def test_words():
    """The same, as people read it."""
    need_numa()
    with Fixture() as fixture:
        four(fixture)
        rows = [line.split()[0] for line in fixture.ctl('status')[0].split('\n')
                if line.startswith('web')]
        tap.check(rows == ['web', 'web@0'], f'{rows}')
        rows = {tuple(line.split()[:2])
                for line in fixture.ctl('vms', 'group:web')[0].split('\n')[1:-1]}
        tap.check(rows == {('any1', 'web'), ('any2', 'web'),
                           ('cell1', 'web@0'), ('cell2', 'web@0')}, f'{rows}')
        text = fixture.ctl('vm', 'cell1')[0]
        tap.check('group web@0,' in text and
                  'node      0: it shares only on this node' in text, text)
        tap.check('node' not in fixture.ctl('vm', 'any1')[0], 'any1 has none')


def test_metrics():
    """A label says the node, where there is one."""
    need_numa()
    with Fixture() as fixture:
        four(fixture)
        lines = fixture.ctl('metrics')[0].split('\n')
        stores = sorted(line for line in lines
                        if line.startswith('guest_ksm_group_store_bytes{'))
        tap.check([',node="0"}' in line for line in stores] == [True, False]
                  and all(line.endswith(f'}} {200 * 4096}')
                          for line in stores), f'{stores}')
        cells = [line for line in lines if 'vm="cell1"' in line]
        tap.check(cells and all('node="0"' in line for line in cells),
                  f'{cells}')
        anys = [line for line in lines if 'vm="any1"' in line]
        tap.check(anys and not any('node' in line for line in anys),
                  f'{anys}')


def test_orders():
    """A group's name stands for all nodes of it."""
    need_numa()
    with Fixture() as fixture:
        four(fixture)
        fixture.ctl('set', 'group:web', 'scan-cpu-percent=7')
        percents = [session['scan_cpu_percent']
                    for session in fixture.sessions()]
        tap.check(percents == [7] * 4, f'{percents}')
        reply = json.loads(fixture.ctl('--json', 'history', 'web')[0])
        tap.check('samples' in reply, f'{reply}')


tap.run([test_figures, test_words, test_metrics, test_orders])
