# SPDX-License-Identifier: GPL-2.0-or-later
"""test-map.py: guest-ksmctl map, as text, as JSON and as a picture.

The pictures are decoded here, from the PNG format itself, and compared with
the layout that the guests' memory was given.
"""

import base64
import json
import os
import re
import struct
import tempfile
import zlib

from fixture import Fixture, run_ctl, tap
from fake_control import FakeControl

# docs/control-protocol.md
UNTOUCHED, PRIVATE, UNSHARED, NO_ZERO, SHARED, BROKEN = 0, 1, 2, 3, 4, 5
# What Fixture.pair() makes of its VMs, as (kind, pages).
LAYOUTS = {
    'web1': [(SHARED, 300), (NO_ZERO, 100), (UNSHARED, 50),
             (UNTOUCHED, 62)],
    'web2': [(BROKEN, 20), (SHARED, 280), (NO_ZERO, 100), (UNSHARED, 50),
             (UNTOUCHED, 62)],
}
LETTERS = '.pu0sbx'


def layouts(fixture):
    """The same on this host: without a zero page, zeros are shared."""
    zeros = NO_ZERO if fixture.zero_page else SHARED
    return {name: [(zeros if kind == NO_ZERO else kind, count)
                   for kind, count in layout]
            for name, layout in LAYOUTS.items()}


def kinds(layout):
    """A kind for each page."""
    return [kind for kind, count in layout for _ in range(count)]


def read_png(path):
    """Rows of (red, green, blue): 8 bits, no interlace, as cairo writes."""
    with open(path, 'rb') as file:
        data = file.read()
    tap.check(data[:8] == b'\x89PNG\r\n\x1a\n', 'a PNG')
    at, packed, header = 8, b'', None
    while at < len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b'IHDR':
            header = struct.unpack('>IIBBBBB', body)
        elif kind == b'IDAT':
            packed += body
        at += size + 12
    width, height, depth, colours, _, _, interlace = header
    tap.check((depth, interlace) == (8, 0) and colours in (2, 6),
              f'PNG header {header}')
    return unfilter(zlib.decompress(packed), width, height,
                    4 if colours == 6 else 3)


def unfilter(raw, width, height, step):
    """The five filters of the PNG format, undone."""
    rows, above = [], bytes(width * step)
    for y in range(height):
        start = y * (width * step + 1)
        kind, line = raw[start], bytearray(
            raw[start + 1:start + 1 + width * step])
        for x, value in enumerate(line):
            left = line[x - step] if x >= step else 0
            corner = above[x - step] if x >= step else 0
            line[x] = value + predict(kind, left, above[x], corner) & 255
        above = bytes(line)
        rows.append([tuple(line[x:x + 3])
                     for x in range(0, width * step, step)])
    return rows


def predict(kind, left, up, corner):
    """What a filter adds to a byte."""
    if kind == 4:
        guess = left + up - corner
        return min((left, up, corner), key=lambda c: abs(guess - c))
    return (0, left, up, (left + up) // 2)[kind]


def test_letters_follow_memory():
    """Without colour: a letter for each page, in guest order."""
    with Fixture() as fixture:
        fixture.pair()
        for name, layout in layouts(fixture).items():
            out, _ = fixture.ctl('map', name)
            tap.check('\033' not in out, 'no colours when it is no terminal')
            rows = re.findall(r'^ *\d+\.\d  ([.pu0sbx]+)$', out, re.M)
            wanted = ''.join(LETTERS[kind] for kind in kinds(layout))
            tap.check(''.join(rows) == wanted, f'{name}: {out}')
            for kind, label in ((SHARED, 'shared'), (BROKEN, 'broken')):
                mib = kinds(layout).count(kind) / 256
                tap.check(re.search(rf'{label} +{mib:.1f} MiB', out),
                          f'legend of {name}: {out}')
        check_colours(fixture)
        check_json(fixture)
        check_png(fixture)
        check_errors(fixture)


def check_colours(fixture):
    """SGR colours and blocks in UTF-8, letters in other locales."""
    out, _ = fixture.ctl('map', 'web2', '--color=always')
    rows = re.findall(r'^ *\d+\.\d  (.*)$', out, re.M)
    found, colour = [], None
    for code, block in re.findall('\033\\[(\\d+)m|(\u2588)', ''.join(rows)):
        if code:
            colour = int(code)
        else:
            found.append(colour)
    colours = {UNTOUCHED: 90, UNSHARED: 36, NO_ZERO: 33, SHARED: 32,
               BROKEN: 31}
    tap.check(found == [colours[k] for k in kinds(layouts(fixture)['web2'])],
              f'colours: {out!r}')
    out, _ = fixture.ctl('map', 'web2', '--color=always', env={'LC_ALL': 'C'})
    tap.check(out.isascii() and '\033[32m' in out, f'ASCII: {out!r}')


def check_json(fixture):
    """The cells as the broker sent them."""
    out, _ = fixture.ctl('--json', 'map', 'web2')
    picture, = json.loads(out)['maps']
    cells = base64.b64decode(picture['cells'])
    tap.check(picture['name'] == 'web2/ram0' and picture['pages'] == 512,
              f'{out}')
    tap.check([cell & 7 for cell in cells] == kinds(layouts(fixture)['web2']),
              'cells')


def check_png(fixture):
    """Each page's dot has the colour of its kind in the legend."""
    with tempfile.TemporaryDirectory() as where:
        path = os.path.join(where, 'map.png')
        out, _ = fixture.ctl('map', 'web2', '--png', path)
        tap.check(out == '', f'nothing is printed: {out}')
        rows = read_png(path)
        check_dots(rows, kinds(layouts(fixture)['web2']))
        os.unlink(path)
        _, err = fixture.ctl('map', 'web2', '--png', '/proc/nowhere.png',
                           status=1)
        tap.check('/proc/nowhere.png' in err, err)


def check_dots(rows, wanted):
    """512 pages are 32 x 16 dots; finds the panel by its size."""
    size = 768 // 32
    colours = {BROKEN: (0xd9, 0x41, 0x3d), SHARED: (0x3f, 0x9b, 0x45),
               NO_ZERO: (0xf0, 0xc9, 0x3a), UNSHARED: (0x8f, 0xc1, 0xe3),
               UNTOUCHED: (0xe3, 0xe3, 0xe3)}
    top, left = next((y, x) for y, row in enumerate(rows)
                     for x, dot in enumerate(row) if dot == colours[BROKEN])
    for page, kind in enumerate(wanted):
        y = top + page // 32 * size + size // 2
        x = left + page % 32 * size + size // 2
        tap.check(rows[y][x] == colours[kind],
                  f'page {page} at {x},{y}: {rows[y][x]}')


def check_errors(fixture):
    """What is wrong, and with which VM."""
    _, err = fixture.ctl('map', 'nosuch', status=5)
    tap.check("'nosuch'" in err and 'vms' in err, err)
    _, err = fixture.ctl('map', 'web1', '--color=mauve', status=2)
    tap.check('mauve' in err, err)
    _, err = run_ctl('--socket', '/nonexistent/control.sock', 'map', 'web1',
                     status=3)
    tap.check('/nonexistent/control.sock' in err, err)


def cells_of(layout, share=31):
    """As the protocol has them."""
    return base64.b64encode(bytes(share << 3 | kind
                                  for kind in kinds(layout))).decode()


def session(name):
    """One of a VM with two backends."""
    return {'name': name, 'vm': 'big', 'backend': name.split('/')[1],
            'group': 'web', 'uid': 0, 'pid': 7, 'pages_sharing': 5120}


def answer(request):
    """A broker that knows VM big: ram0 is shared, ram1 is broken."""
    if request['request'] == 'sessions':
        return {'ok': True, 'sessions': [session('big/ram1'),
                                         session('big/ram0')]}
    name = request['target'].removeprefix('vm:')
    kind = {'big/ram0': SHARED, 'big/ram1': BROKEN}[name]
    return {'ok': True, 'name': name, 'pages': 1020, 'pages_per_cell': 4,
            'count': 255, 'cells': cells_of([(kind, 255)])}


def test_several_backends():
    """Each is asked for by its own name, and drawn in their order."""
    with FakeControl(answer) as fake, tempfile.TemporaryDirectory() as where:
        out, _ = fake.ctl('map', 'big')
        tap.check(out.index('big/ram0: 4.0 MiB') < out.index('big/ram1:') and
                  '16 KiB a character' in out, out)
        letters = ''.join(re.findall(r'^ *\d+\.\d  ([a-z]+)$', out, re.M))
        tap.check(letters == 's' * 255 + 'b' * 255, out)
        path = os.path.join(where, 'map.png')
        fake.ctl('map', 'big', '--png', path)
        dots = [dot for row in read_png(path) for dot in row]
        size = (768 // 16) ** 2
        for colour in ((0x3f, 0x9b, 0x45), (0xd9, 0x41, 0x3d)):
            found = dots.count(colour) / size       # and two legends
            tap.check(255 < found < 256, f'{colour}: {found} dots')
        tap.check([r['target'] for r in fake.requests
                   if r['request'] == 'map'] ==
                  ['vm:big/ram0', 'vm:big/ram1'] * 2, f'{fake.requests}')


def test_strange_maps():
    """Replies that make no sense are errors, whatever they are."""
    good = answer({'request': 'map', 'target': 'vm:big/ram0'})
    for change in ({'count': 254}, {'count': 0}, {'count': 1 << 40},
                   {'count': -1}, {'pages_per_cell': 3},
                   {'pages_per_cell': 0}, {'pages_per_cell': 1 << 62},
                   {'pages': 10**6}, {'pages': 4}, {'pages': -1},
                   {'cells': ''}, {'cells': None}, {'cells': [1]},
                   {'cells': '!!!!'}, {'cells': 'AAAA'}):
        def strange(request, change=change):
            return {**good, **change} if request['request'] == 'map' \
                else answer(request)
        with FakeControl(strange) as fake:
            _, err = fake.ctl('map', 'big', status=1)
            tap.check('makes no sense' in err, f'{change}: {err}')


tap.run([test_letters_follow_memory, test_several_backends,
         test_strange_maps])
