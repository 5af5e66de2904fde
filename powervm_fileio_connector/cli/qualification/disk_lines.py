# SPDX-License-Identifier: Apache-2.0
"""Statements about disks: how they are attached, shown, extended and detached."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
import time

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Lines
from powervm_fileio_connector.cli.qualification.lines import differs
from powervm_fileio_connector.cli.qualification.lines import expect
from powervm_fileio_connector.cli.qualification.lines import holds
from powervm_fileio_connector.cli.qualification.lines import not_tried
from powervm_fileio_connector.cli.qualification.site import MIB
from powervm_fileio_connector.cli.qualification.site import Site
from powervm_fileio_connector.cli.qualification.site import attached
from powervm_fileio_connector.cli.qualification.site import of_first
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import file_udid
from powervm_fileio_connector.novalink import exchange
from powervm_fileio_connector.volume import QCOW
from powervm_fileio_connector.volume import SLOTS

LINES = Lines()

_SHOWN_WITHIN_S = 30.0


@LINES.add('attach', 'a file is attached and shown in the answer')
def _attach(site: Site) -> Finding:
    begun = time.monotonic()
    site.first = site.attach(site.make_file('first'), volume_id='qualify')
    return holds(f'slot {site.first.slot}, {site.first.lua}, {time.monotonic() - begun:.2f} s')


@LINES.add('repeat', 'attaching again returns the same disk and changes nothing')
@of_first
def _repeat(site: Site, first: MappingRecord) -> Finding:
    etag = site.table().vios_w.etag
    again = site.attach(str(first.path), volume_id='qualify')
    return expect(again == site.first and site.table().vios_w.etag == etag, '')


@LINES.add('link', 'the mapping of a file names no LPAR in a link')
@of_first
def _link(site: Site, first: MappingRecord) -> Finding:
    return expect(first.lpar_uuid is None, 'a link is shown' if first.lpar_uuid else '')


@LINES.add('udid', 'the UDID of a file is the MD5 name-based UUID of its path')
@of_first
def _udid(site: Site, first: MappingRecord) -> Finding:
    return expect(str(first.udid).lower() == file_udid(str(first.path)), first.udid)


@LINES.add('target_name', 'the target of a file is called FILEIO and its base name')
@of_first
def _target_name(site: Site, first: MappingRecord) -> Finding:
    return expect(first.target_name == f'FILEIO-{os.path.basename(str(first.path))}',
                  first.target_name)


@LINES.add('tag_and_backstore', 'tag and backstore of a disk come back',
           'The tag, model alias and backstore')
@of_first
def _tag(site: Site, first: MappingRecord) -> Finding:
    return expect(first.tag == 'qualify' and first.backstore is not None,
                  f'tag {first.tag}, backstore {first.backstore}')


@LINES.add('first_lua', 'a new disk gets the lowest free LUA, a new adapter the lowest free slot',
           'A new disk gets the lowest free LUA')
def _first_lua(site: Site) -> Finding:
    with attached(site, site.make_file('lowest')) as info:
        own = [entry.record for entry in site.table().entries()
               if entry.record.slot is not None and _is_of(entry.record, site)]
        luas = {record.lua for record in own if record.slot == info.slot} - {info.lua}
        slots = {record.slot for record in own if record.slot != info.slot}
        lowest = next(f'lun{n}' for n in range(1, 99) if f'lun{n}' not in luas)
        free = [slot for slot in range(SLOTS.start, info.slot or 0) if slot not in slots]
        return expect(info.lua == lowest and not free, f'slot {info.slot}, {info.lua}')


@LINES.add('serial_slots', 'slots 0 and 1 are the serial consoles', 'Slots 0 and 1')
@of_first
def _serial_slots(site: Site, first: MappingRecord) -> Finding:
    return expect((first.slot or 0) >= SLOTS.start, f'slot {first.slot}')


@LINES.add('two_at_once', 'two files can be attached at once')
def _two_at_once(site: Site) -> Finding:
    paths = [site.make_file(f'at-once-{number}') for number in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        infos = list(pool.map(site.attach, paths))
    places = {(info.slot, info.lua) for info in infos}
    for info in infos:
        site.detach(info)
    return expect(len(places) == 2, ', '.join(f'slot {slot} {lua}' for slot, lua in places))


@LINES.add('slot_and_lua', 'a slot and a LUA that are asked for are given')
def _slot_and_lua(site: Site) -> Finding:
    slot = _free_slot(site)
    with attached(site, site.make_file('place'), slot=slot, lua='lun7') as info:
        return expect((info.slot, info.lua) == (slot, 'lun7'), f'slot {info.slot}, {info.lua}')


@LINES.add('lua_forms', 'a LUA may be asked for in the form of other kinds of disks',
           'NovaLink takes a LUA in either recorded form')
def _lua_forms(site: Site) -> Finding:
    path = site.make_file('lua-form')
    answer = site.post_new({'path': path, 'slot': _free_slot(site), 'lua': '0x8200000000000000'})
    return expect(answer.status < 300, f'status {answer.status}')


@LINES.add('one_new_slot', 'two new disks in one request that ask for one slot share its adapters',
           'Two new mappings that ask for one slot')
def _one_new_slot(site: Site) -> Finding:
    slot, paths = _free_slot(site), [site.make_file(f'one-slot-{number}') for number in range(2)]
    answer = site.post_new(*[{'path': path, 'slot': slot} for path in paths])
    if answer.status >= 300:
        return differs(f'status {answer.status}')
    shown = [entry.record for entry in site.own() if entry.record.path in paths]
    return expect({record.slot for record in shown} == {slot} and len(
        {record.server_slot for record in shown}) == 1,
        ', '.join(f'slot {record.slot}, server slot {record.server_slot}' for record in shown))


@LINES.add('same_names', 'two files of one base name can be attached',
           'A target name need not be unique')
def _same_names(site: Site) -> Finding:
    with (attached(site, site.make_file('one/same-name')) as one,
          attached(site, site.make_file('two/same-name')) as two):
        return holds(f'targets {one.target_name} and {two.target_name}')


@LINES.add('other_target_names', 'targets of other kinds of storage are named in the same way',
           'Targets of other kinds of storage')
def _other_target_names(site: Site) -> Finding:
    return not_tried('no other storage is made')


@LINES.add('path_as_given', 'two spellings of a path are two disks to NovaLink',
           'NovaLink takes a path as it is given')
def _path_as_given(site: Site) -> Finding:
    path = site.make_file('spelled')
    answers = [site.post_new({'path': one})
               for one in (path, f'{os.path.dirname(path)}//{os.path.basename(path)}')]
    shown = sum('spelled' in str(entry.record.path) for entry in site.own())
    return expect(shown == 2, f'statuses {answers[0].status} and {answers[1].status}, '
                  f'{shown} disks')


@LINES.add('second_path', 'a file is found again by another path')
def _second_path(site: Site) -> Finding:
    path = site.make_file('real/second-path')
    os.symlink('real', os.path.join(site.directory, 'link'))
    other = os.path.join(site.directory, 'link', 'second-path')
    with attached(site, path) as info:
        return expect(site.attach(other) == info, '')


@LINES.add('fileio', 'a file can be served through the backstore fileio')
def _fileio(site: Site) -> Finding:
    with attached(site, site.make_file('fileio'), backstore='fileio') as info:
        return expect(info.backstore == 'fileio', info.backstore)


@LINES.add('qcow2', 'a qcow2 image can be served through the backstore user:qcow')
def _qcow2(site: Site) -> Finding:
    image = _image(site, 'image.qcow2')
    if image is None:
        return not_tried('qemu-img is not installed here')
    with attached(site, image, format='qcow2') as info:
        return expect(info.backstore == QCOW, info.backstore)


@LINES.add('extend', 'a file that has grown is shown in its new size after a rescan')
@of_first
def _extend(site: Site, first: MappingRecord) -> Finding:
    path = str(first.path)
    os.truncate(path, 2 * MIB)
    size = site.extend(path)
    entry = site.entry_of(path)
    seen = entry.record.capacity_gb if entry is not None else None
    return expect(size == 2 * MIB and seen is not None and abs(seen * 1024 - 2) < 0.01,
                  f'{seen} GB')


@LINES.add('lost_answer', 'a change whose answer is lost is carried out, and found afterwards')
def _lost_answer(site: Site) -> Finding:
    path = site.make_file('lost')
    table = site.table()
    table.append(site.mapping(table, path))
    try:
        answer = site.post(table.body(), table.vios_w.etag, Deadline(0.02))
    except exchange.RequestFailed as err:
        lost = str(err)
    else:
        return not_tried('the answer came in time') if answer.status < 300 else differs(
            f'status {answer.status}')
    until = Deadline(_SHOWN_WITHIN_S)
    while not any(entry.record.path == path for entry in site.own()):
        if until.has_passed:
            return not_tried('the change was lost as well as its answer')
    return holds(lost)


@LINES.add('detach', 'a disk is detached, and no longer shown in the answer')
def _detach(site: Site) -> Finding:
    info = site.attach(site.make_file('detach'))
    removed = site.detach(info)
    return expect(len(removed) == 1 and not any(
        entry.record.path == info.path for entry in site.own()), '')


@LINES.add('detach_again', 'to detach a disk that is gone succeeds')
def _detach_again(site: Site) -> Finding:
    info = site.attach(site.make_file('twice'))
    site.detach(info)
    return expect(site.detach(info) == (), '')


@LINES.add('removal_by_state', 'a mapping can be removed whatever state its LPAR is in',
           'A mapping can be removed whatever state')
def _removal_by_state(site: Site) -> Finding:
    site.detach(site.attach(site.make_file('state')))
    return holds(f'in state {site.lpar.state}; no other was tried')


@LINES.add('missing_file_is_refused', 'a file that is missing is refused before it is mapped')
def _missing(site: Site) -> Finding:
    try:
        site.attach(os.path.join(site.directory, 'not-there'))
    except exceptions.VolumeFileNotFound:
        return holds()
    return differs('it was attached')


def _is_of(record: MappingRecord, site: Site) -> bool:
    return site.lpar.uuid.upper() == record.lpar_uuid or site.lpar.id == record.lpar_id


def _free_slot(site: Site) -> int:
    taken = {entry.record.slot for entry in site.table().entries() if _is_of(entry.record, site)}
    return next(slot for slot in range(20, 10_000) if slot not in taken)


def _image(site: Site, name: str) -> str | None:
    """Make a qcow2 image; None: there is nothing to make it with."""
    tool = shutil.which('qemu-img')
    if tool is None:
        return None
    path = os.path.join(site.directory, name)
    subprocess.run([tool, 'create', '-q', '-f', 'qcow2', path, '1M'], check=True,
                   capture_output=True)
    return path
