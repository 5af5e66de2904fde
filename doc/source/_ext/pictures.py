# SPDX-License-Identifier: Apache-2.0
"""``.. picture:: NAME``: the pictures of the pages, drawn here from what they say."""

from __future__ import annotations

from typing import Any

from drawing import WIDTH
from drawing import Drawing
from drawing import directive

# Who takes part in an attach, at which place of the width.
_PARTIES = {'caller': 34, 'library': 134, 'share': 238, 'NovaLink': 338}
# Sender, receiver, and what is sent; a sender alone works by itself.
_ATTACH = (
    ('caller', 'library', 'connect_volume'),
    ('library', 'NovaLink', 'is it an I/O server?'),
    ('library', 'library', 'find the export\'s mount'),
    ('library', 'share', 'probe the file'),
    ('library', 'library', 'decide: that is the plan'),
    ('library', 'NovaLink', 'read the mappings, with their etag'),
    ('library', 'NovaLink', 'POST all mappings and ours'),
    ('NovaLink', 'library', 'the mappings as they are now'),
    ('library', 'share', 'is it still the same file?'),
    ('library', 'caller', 'device_info'),
)


def overview() -> str:
    """Where the bytes of a volume are, from the file server to the disk in the LPAR."""
    picture = Drawing('A file on a mounted share becomes a disk of an LPAR', 372)
    picture.box(80, 4, 220, ['file server', 'exports nas1:/vols'])
    picture.arrow(190, 46, 190, 88)
    picture.text(198, 66, 'NFS, GPFS, ...', 'start', 'note')
    picture.frame(4, 70, WIDTH - 8, 206, 'NovaLink partition')
    picture.box(30, 92, 320, ['mount: /var/lib/nova/mnt/df8f...', 'the deployer mounts it'])
    picture.arrow(190, 134, 190, 156)
    picture.box(30, 158, 320, ['file: volume-7c1e...', 'checked by this library'], 'ours')
    picture.arrow(190, 200, 190, 222)
    picture.box(30, 224, 320, ['mapping: slot 2, lun1', 'added by it, over NovaLink\'s REST'],
                'ours')
    picture.arrow(190, 266, 190, 318)
    picture.text(198, 300, 'virtual SCSI', 'start', 'note')
    picture.box(80, 320, 220, ['LPAR web01', 'sees a disk'])
    return picture.svg()


def attach() -> str:
    """One attach, step by step."""
    top, step = 40, 38
    bottom = top + step * len(_ATTACH) + 14
    picture = Drawing('One attach: who asks whom, in this order', bottom)
    for name, x in _PARTIES.items():
        picture.box(x - 33, 4, 66, name, 'ours' if name == 'library' else '')
        picture.life_line(x, 30, bottom)
    for number, (sender, receiver, what) in enumerate(_ATTACH):
        y = top + step * number + 26
        x1, x2 = _PARTIES[sender], _PARTIES[receiver]
        if sender == receiver:
            picture.text(x1 + 6, y - 2, what, 'start')
            continue
        middle = min(max((x1 + x2) / 2, 3.7 * len(what)), WIDTH - 3.7 * len(what))
        picture.text(middle, y - 6, what)
        picture.arrow(x1, y, x2 + (-2 if x2 > x1 else 2), y)
    return picture.svg()


def openstack() -> str:
    """Nova and Cinder around this library."""
    picture = Drawing('Cinder makes the file, Nova asks for the disk', 366)
    picture.box(4, 4, 150, ['Cinder', 'makes the file'])
    picture.box(226, 4, 150, ['Nova API', 'attach this volume'])
    picture.arrow(224, 25, 156, 25)
    picture.text(190, 18, 'asks', kind='note')
    picture.arrow(301, 46, 301, 96)
    picture.text(294, 62, 'connection_info', 'end', 'note')
    picture.frame(4, 74, WIDTH - 8, 208, 'NovaLink partition')
    picture.box(170, 98, 196, ['nova-compute', 'nova-powervm\'s driver'])
    picture.arrow(268, 140, 268, 164)
    picture.box(170, 166, 196, ['this library', 'as volume adapter'], 'ours')
    picture.arrow(168, 187, 150, 187)
    picture.box(14, 166, 134, ['mounted share', 'probed'])
    picture.arrow(268, 208, 268, 232)
    picture.box(170, 234, 196, ['NovaLink REST', 'pvm-rest'])
    picture.arrow(79, 46, 79, 164)
    picture.text(86, 152, 'NFS, GPFS', 'start', 'note')
    picture.arrow(268, 276, 268, 318)
    picture.text(276, 304, 'virtual SCSI', 'start', 'note')
    picture.box(170, 320, 196, ['LPAR', 'the instance'])
    return picture.svg()


_PICTURES = {function.__name__: function for function in (overview, attach, openstack)}


def setup(app: Any) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive('picture', directive(lambda name: _PICTURES[name]()))
    return {'parallel_read_safe': True}
