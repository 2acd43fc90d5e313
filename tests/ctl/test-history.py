# SPDX-License-Identifier: GPL-2.0-or-later
"""test-history.py: guest-ksmctl history, as a plot, as SVG and as JSON.

Hours do not pass in a test, so most replies come from a control socket of our
own that answers as docs/control-protocol.md says. One test asks the real broker.
"""

import json
import os
import re
import tempfile
import time
import xml.etree.ElementTree as xml

from fixture import Fixture, run_ctl, tap
from fake_control import FakeControl

FIELDS = ['time_s', 'pages_shared', 'pages_sharing', 'zero_pages',
          'pages_broken', 'saved_pages', 'cpu_percent']
START = 1700000000
SVG = '{http://www.w3.org/2000/svg}'
BLOCKS = ' ▁▂▃▄▅▆▇█'


def sample(index, saved=0, **more):
    """One that is so many intervals after the first."""
    values = {'time_s': START + 10 * index, 'saved_pages': saved, **more}
    return [values.get(field, 0) for field in FIELDS]


def history(samples, fields=None):
    """A reply."""
    return {'ok': True, 'interval_s': 10, 'fields': fields or FIELDS,
            'samples': samples}


def heights(out, columns, blocks=BLOCKS):
    """Each column's height in eighths of a row, read off the plot."""
    rows = [line[11:].ljust(columns) for line in out.splitlines()[1:13]]
    return [sum(blocks.index(row[at]) for row in rows)
            for at in range(columns)]


def test_plot_has_the_values():
    """A ramp is a ramp, and its axis has its values."""
    ramp = [sample(i, 256 * i) for i in range(89)]      # 0 to 88 MiB
    with FakeControl(history(ramp)) as fake:
        out, _ = fake.ctl('history', env={'COLUMNS': '100', 'TZ': 'UTC'})
        got = heights(out, 89)
        # A step of the axis is 10 MiB: a column's height is its value.
        for at, height in enumerate(got):
            tap.check(abs(height - at * 8 / 10) <= 1, f'{at}: {got}')
        marks = [int(m) for m in re.findall(r'^ *(\d+) ┤', out, re.M)]
        tap.check(marks == [90, 60, 30, 0], out)
        tap.check('88.0 now, 0.0 at least, 88.0 at most' in out, out)
        times = out.splitlines()[13].split()
        tap.check(times[0] == '22:13' and times[-1] == '22:28', out)
        out, _ = fake.ctl('history', env={'COLUMNS': '100', 'LC_ALL': 'C'})
        tap.check(out.isascii() and '#' in out, out)
        tap.check(fake.requests[0] == {'request': 'history'},
                  f'{fake.requests}')


def test_gaps_and_odd_series():
    """No samples, one, a gap, negative savings, fields in another order."""
    with FakeControl(history([])) as fake:
        tap.check('no sample' in fake.ctl('history')[0], 'none')
    with FakeControl(history([sample(0, 2560)])) as fake:
        tap.check('10.0 now' in fake.ctl('history')[0], 'one')
    two = [sample(i, 2560) for i in (*range(20), *range(60, 80))]
    with FakeControl(history(two)) as fake:
        out, _ = fake.ctl('history', env={'COLUMNS': '91'})
        got = heights(out, 80)
        tap.check(all(got[:18]) and all(got[62:]) and not any(got[25:55]),
                  f'{got}')
    with FakeControl(history([sample(0, -2560), sample(1, 2560)])) as fake:
        out, _ = fake.ctl('history')
        tap.check('-10.0 at least' in out and
                  re.search(r'-\d+ ┤', out), out)
    mixed = [[row[i] for i in (5, 0, 6, 1, 2, 3, 4)] + [99]
             for row in (sample(0, 256), sample(1, 512))]
    names = [FIELDS[i] for i in (5, 0, 6, 1, 2, 3, 4)] + ['more']
    with FakeControl(history(mixed, names)) as fake:
        tap.check('2.0 now, 1.0 at least' in fake.ctl('history')[0], 'mixed')


def points(element):
    """Of a polyline."""
    return [tuple(map(float, point.split(',')))
            for point in element.attrib['points'].split()]


def test_svg_has_the_values():
    """Every sample is a point at its place; gaps break the lines."""
    samples = [sample(i, 256 * (i % 50), pages_sharing=12800, cpu_percent=3)
               for i in (*range(100), *range(150, 200))]
    with FakeControl(history(samples)) as fake, \
            tempfile.TemporaryDirectory() as where:
        path = os.path.join(where, 'history.svg')
        out, _ = fake.ctl('history', 'web', '--svg', path)
        tap.check(out == '', 'no output')
        tap.check(fake.requests[0]['group'] == 'web', 'the group asked for')
        root = xml.parse(path).getroot()
        saved = [element for element in root.iter(SVG + 'polygon')
                 if element.attrib['class'] == 'saved']
        tap.check([len(points(s)) - 2 for s in saved] == [100, 50],
                  'two stretches, each closed below')
        marks = axis(root)
        found = [value_at(marks, y) for stretch in saved
                 for _, y in points(stretch)[1:-1]]
        for i, value in enumerate(found):
            tap.check(abs(value - samples[i][5] / 256) < 0.2, f'{i} {value}')
        xs = [x for stretch in saved for x, _ in points(stretch)[1:-1]]
        width = (xs[-1] - xs[0]) / 199
        tap.check(abs(xs[100] - xs[99] - 51 * width) < 0.3, 'the gap')
        check_svg_text(root)
        _, err = fake.ctl('history', '--svg', '/nonexistent/x.svg', status=1)
        tap.check('/nonexistent/x.svg' in err, err)


def axis(root):
    """{y: value} of the upper panel's labels."""
    labels = [(float(text.attrib['y']) - 4, float(text.text))
              for text in root.iter(SVG + 'text')
              if text.attrib['text-anchor'] == 'end' and
              re.fullmatch(r'[\d.]+', text.text)]
    return {y: value for y, value in labels if y < 340}


def value_at(marks, y):
    """By the axis' own labels."""
    (low_y, low), *_, (high_y, high) = sorted(marks.items(), reverse=True)
    return low + (high - low) * (low_y - y) / (low_y - high_y)


def check_svg_text(root):
    """What it is about, and what each line is."""
    texts = ' '.join(text.text for text in root.iter(SVG + 'text'))
    for word in ('group web', 'MiB', 'saved', 'store', 'broken', 'CPU'):
        tap.check(word in texts, f'{word} in {texts}')


def test_strange_brokers():
    """Replies that make no sense: an error, whatever they are."""
    for reply in (history([[1]]), history(['x']), history([sample(0)], ['x']),
                  history([['a'] * 7]), history([[None] * 7]),
                  history([sample(0, float(10**300))]),
                  history([sample(0), {}]), history([sample(0)], 7)):
        with FakeControl(reply) as fake:
            for more in ([], ['--svg', '/dev/null']):
                _, err = fake.ctl('history', *more, status=1)
                tap.check('makes no sense' in err, err)
    for raw in (b'\n', b'[]\n', b'{"ok":true', b'\xff\0\n'):
        with FakeControl(raw) as fake:
            fake.ctl('history', status=1)
    with FakeControl({'ok': True, 'samples': 7}) as fake:
        tap.check('no sample' in fake.ctl('history')[0], 'nothing there')


def test_last():
    """Times as people write them; the broker gets seconds."""
    with FakeControl(history([])) as fake:
        for text, seconds in (('90', 90), ('90s', 90), ('5m', 300),
                              ('2h', 7200), ('1d', 86400)):
            fake.ctl('history', '--last', text)
            tap.check(fake.requests[-1]['seconds'] == seconds, text)
    for wrong in ('', 'm', '0', '-5', '1w', '1.5h'):
        _, err = run_ctl('history', f'--last={wrong}', status=2)
        tap.check('--last' in err, err)


def test_real_broker():
    """What the broker has sampled is what the engines shared."""
    with Fixture() as fixture:
        fixture.pair()

        def newest():
            out, _ = fixture.ctl('--json', 'history', 'web')
            rows = json.loads(out)['samples']
            return dict(zip(FIELDS, rows[-1])) if rows else {}
        tap.wait_until(lambda: newest().get('saved_pages') == fixture.saved, 30,
                       f'a sample of {fixture.saved} pages saved')
        now = newest()
        tap.check((now['pages_shared'], now['pages_sharing'],
                   now['zero_pages'], now['pages_broken']) ==
                  (fixture.slots, fixture.worst_case - 2 * fixture.zeros,
                   2 * fixture.zeros, 20), f'{now}')
        tap.check(abs(now['time_s'] - time.time()) < 30, f'{now}')
        words = f'{fixture.saved / 256:.1f} now'
        tap.check(words in fixture.ctl('history', 'web')[0], words)
        tap.check(words in fixture.ctl('history')[0], 'all groups')
        _, err = fixture.ctl('history', 'nosuch', status=5)
        tap.check('nosuch' in err, err)


tap.run([test_plot_has_the_values, test_gaps_and_odd_series,
         test_svg_has_the_values, test_strange_brokers, test_last,
         test_real_broker])
