# SPDX-License-Identifier: Apache-2.0
"""connection_properties and device_info, parsed on entry."""

import copy
import functools
import hashlib
import json
import os
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from os_brick.remotefs import remotefs

from powervm_fileio_connector import connection_properties
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import Kind
from tests import shapes

LPAR = '4D2C1F61-8F2D-4C1C-9E4C-0E6C2B6D3A11'
OTHER = '5A7E0B92-1C3D-4E5F-8A9B-0C1D2E3F4A5B'


class Text(str):
    """A text of another type, such as lxml's, that cannot be sent to a probe process."""

    def __str__(self):
        return 'another text'

    __repr__ = __format__ = __str__


def parse(properties, **kwargs):
    return connection_properties.parse(properties, lpar_uuid=LPAR, **kwargs)


@pytest.mark.parametrize('layer', shapes.LAYERS)
@pytest.mark.parametrize('kind', shapes.DRIVERS)
def test_every_driver_is_understood_in_every_layer(kind, layer):
    _, data, _ = shapes.DRIVERS[kind]
    spec = parse(shapes.LAYERS[layer](kind))
    assert spec.export == data.get('export')
    assert spec.path == data.get('device_path')
    if spec.export:
        assert spec.name == data['name']


@pytest.mark.parametrize('kind', shapes.DRIVERS)
def test_bare_data_is_enough(kind):
    spec = parse(shapes.data_only(kind))
    assert (spec.export, spec.path) != (None, None)


@pytest.mark.parametrize(('layer', 'expected'), [
    ('driver', None), ('cinder_legacy', None), ('cinder_attachment', None),
    ('nova_legacy', shapes.VOLUME_ID), ('nova_attachment', shapes.VOLUME_ID)])
def test_volume_id_is_taken_from_where_nova_puts_it(layer, expected):
    assert parse(shapes.LAYERS[layer]('nfs')).volume_id == expected


def test_volume_id_of_the_data_wins_after_a_retype():
    info = shapes.nova_attachment('nfs', volume_id='new')
    assert parse(info).volume_id == 'new'


@pytest.mark.parametrize('given', [' id', 'id ', '\u00a0id\u00a0', '\u2003id  '])
@pytest.mark.parametrize('key', ['volume_id', 'serial'])
def test_blanks_around_an_id_are_no_part_of_it(key, given):
    for parse_one in (parse, functools.partial(parse_leniently, lpar_uuid=LPAR)):
        assert parse_one({'path': '/mnt/v', key: given}).volume_id == 'id'
        assert parse_one({'path': '/mnt/v', key: given.replace('id', '')}).volume_id is None
    assert DeviceInfo.parse({'volume_id': given}).volume_id == 'id'


def test_an_id_of_blanks_hides_no_serial():
    for parse_one in (parse, functools.partial(parse_leniently, lpar_uuid=LPAR)):
        assert parse_one({'path': '/v', 'volume_id': ' ', 'serial': ' id'}).volume_id == 'id'


@pytest.mark.parametrize('layer', shapes.LAYERS)
def test_mount_point_base_is_found_beside_and_inside_data(layer):
    assert parse(shapes.LAYERS[layer]('nfs')).mount_point_base == '/var/lib/cinder/mnt'
    assert parse(shapes.LAYERS[layer]('nfs-slash')).mount_point_base is None


def test_the_properties_are_never_changed():
    info = shapes.nova_attachment('nfs')
    before = copy.deepcopy(info)
    parse(info)
    parse_leniently(info, lpar_uuid=LPAR)
    assert info == before


def test_lpar_of_the_properties_wins_over_the_connectors():
    other = LPAR.replace('4', '5')
    assert parse(shapes.driver('nfs') | {'lpar_uuid': other}).lpar_uuid == other
    assert parse(shapes.driver('nfs')).lpar_uuid == LPAR


@pytest.mark.parametrize(('change', 'key'), [
    ({'export': None}, 'export'), ({'export': ''}, 'export'), ({'export': 5}, 'export'),
    ({'name': None}, 'name'), ({'name': ['x']}, 'name'), ({'name': 'a\nb'}, 'name'),
    ({'slot': 'four'}, 'slot'), ({'slot': True}, 'slot'), ({'slot': 1}, 'slot'),
    ({'slot': 65535}, 'slot'), ({'lua': 7}, 'lua'), ({'backstore': 'user:qcow'}, 'backstore'),
    ({'backstore': 'tape'}, 'backstore'), ({'format': 4}, 'format'),
    ({'access_mode': 'wo'}, 'access_mode'), ({'encrypted': 'maybe'}, 'encrypted'),
    ({'multiattach': 'perhaps'}, 'multiattach'), ({'lpar_uuid': 'web01'}, 'lpar_uuid'),
    ({'lpar_uuid': f'{{{LPAR}}}'}, 'lpar_uuid'), ({'lpar_uuid': f'urn:uuid:{LPAR}'}, 'lpar_uuid'),
    ({'lpar_uuid': LPAR.replace('-', '')}, 'lpar_uuid'), ({'lua': 'lun1 '}, 'lua'),
    ({'name': 'volume-1 '}, 'name'), ({'name': 'volume-1\u00a0'}, 'name'),
    ({'volume_id': 12}, 'volume_id'), ({'mount_point_base': 3}, 'mount_point_base')])
def test_a_wrong_value_is_refused_and_its_key_named(change, key):
    with pytest.raises(exceptions.InvalidConnectionProperties, match=f"'{key}'") as caught:
        parse(shapes.driver('nfs', **change))
    assert caught.value.kwargs['key'] == key


@pytest.mark.parametrize(('change', 'quoted'), [
    ({'slot': 1}, '1 '), ({'slot': 70000}, '70000 '), ({'slot': '65535'}, '65535 '),
    ({'slot': -3}, '-3 '), ({'slot': 2.5}, '2.5,'), ({'slot': True}, 'True,'),
    ({'slot': 10 ** 5000}, 'of many digits'), ({'slot': -10 ** 5000}, 'of many digits'),
    ({'format': 'VmDk'}, "'VmDk'"), ({'access_mode': 'Ro'}, "'Ro'"),
    ({'access_mode': 'Wo'}, "'Wo'"), ({'encrypted': 'Maybe'}, "'Maybe'"),
    ({'multiattach': 7}, '7,'), ({'mount_point_base': 'Mnt'}, "'Mnt'"),
    ({'backstore': 'Tape'}, "'Tape'"), ({'driver_volume_type': 'iSCSI'}, "'iSCSI'"),
    ({'lua': 'LUN-1'}, "'LUN-1'"), ({'lpar_uuid': 'Web01'}, "'Web01'")])
def test_a_wrong_value_is_quoted_as_it_was_given(change, quoted):
    with pytest.raises(exceptions.FileIOConnectorError) as caught:
        parse(shapes.driver('nfs', **change))
    assert quoted in str(caught.value)


@pytest.mark.parametrize('wrong', [5, 0, ['/mnt/w'], [], {}, '\0'])
@pytest.mark.parametrize(('key', 'beside'), [
    ('options', {'path': '/mnt/v'}), ('options', {'export': 'e', 'name': 'v'}),
    ('name', {'device_path': '/mnt/v'}), ('name', {'path': '/mnt/v'}),
    ('export', {'path': '/mnt/v'}), ('export', {'device_path': '/mnt/v'}),
    ('device_path', {'path': '/mnt/v'}), ('device_path', {'export': 'e', 'name': 'v'}),
    ('path', {'device_path': '/mnt/v'}), ('serial', {'path': '/mnt/v', 'volume_id': 'id'})])
def test_a_wrong_key_is_refused_though_others_would_do(key, beside, wrong):
    with pytest.raises(exceptions.InvalidConnectionProperties) as caught:
        parse(beside | {key: wrong})
    assert caught.value.kwargs['key'] == key
    assert parse_leniently(beside | {key: wrong}, lpar_uuid=LPAR)


@pytest.mark.parametrize('empty', ['', None])
@pytest.mark.parametrize('key', ['export', 'device_path', 'path'])
def test_the_place_that_is_empty_is_named(key, empty):
    with pytest.raises(exceptions.InvalidConnectionProperties) as caught:
        parse({key: empty, 'name': 'v'})
    assert caught.value.kwargs['key'] == key


@pytest.mark.parametrize('slot', [2, 65534, '2'])
def test_every_slot_but_those_of_the_consoles_and_the_wild_card_can_be_asked_for(slot):
    assert parse(shapes.driver('nfs', slot=slot)).slot == int(slot)


@pytest.mark.parametrize('wrong', [None, 'nfs', 7, ['x']])
def test_something_else_than_a_dictionary_is_refused(wrong):
    with pytest.raises(exceptions.InvalidConnectionProperties):
        parse(wrong)
    with pytest.raises(exceptions.InvalidConnectionProperties):
        parse({'driver_volume_type': 'nfs', 'data': wrong})


@pytest.mark.parametrize('protocol', ['iscsi', 'rbd', 'fibre_channel'])
def test_volumes_that_are_no_files_are_refused(protocol):
    with pytest.raises(exceptions.InvalidConnectionProperties, match='driver_volume_type'):
        parse({'driver_volume_type': protocol, 'data': {'path': '/mnt/a'}})


@pytest.mark.parametrize('device_path', ['None', 'gpfs/volume', '', None])
def test_a_device_path_that_is_no_absolute_path_is_refused(device_path):
    with pytest.raises(exceptions.InvalidConnectionProperties, match='device_path'):
        parse(shapes.driver('gpfs', device_path=device_path))


@pytest.mark.parametrize('name', ['..', '.', '../../etc/shadow', '/etc/shadow', 'a/b', 'a/'])
def test_a_name_that_could_leave_the_export_is_unsafe(name):
    with pytest.raises(exceptions.UnsafeVolumePath, match='plain path component'):
        parse(shapes.driver('nfs', name=name))


@pytest.mark.parametrize('change', [
    {'encrypted': True}, {'encrypted': 'True'}, {'access_mode': 'ro'}, {'format': 'vmdk'},
    {'format': 'iso'}])
def test_what_novalink_cannot_serve_is_refused(change):
    with pytest.raises(exceptions.UnsupportedVolume):
        parse(shapes.driver('nfs', **change))


@pytest.mark.parametrize('given', ['lpar1', '', f'{{{LPAR}}}', LPAR.replace('-', ''),
                                   '../VirtualIOServer', uuid.UUID(LPAR), 5, b'x', True, []])
def test_an_lpar_that_was_given_is_checked_like_one_of_the_properties(given):
    volume = shapes.driver('nfs')
    for parse_one in (connection_properties.parse, parse_leniently):
        with pytest.raises(exceptions.InvalidConnectionProperties) as caught:
            parse_one(volume, lpar_uuid=given)
        assert caught.value.kwargs['key'] == 'lpar_uuid'
        assert parse_one(volume, lpar_uuid=given, need_lpar=False)
        assert parse_one({**volume, 'lpar_uuid': OTHER}, lpar_uuid=given).lpar_uuid == OTHER


def test_no_lpar_at_all_is_refused_unless_none_is_needed():
    with pytest.raises(exceptions.InvalidConnectionProperties, match='lpar_uuid'):
        connection_properties.parse(shapes.driver('nfs'))
    assert connection_properties.parse(shapes.driver('nfs'), need_lpar=False).lpar_uuid == ''


@pytest.mark.parametrize(('data', 'default', 'expected'), [
    ({}, 'loop', 'loop'), ({}, 'fileio', 'fileio'), ({'backstore': 'fileio'}, 'loop', 'fileio'),
    ({'format': 'qcow2'}, 'loop', 'user:qcow'), ({'format': None}, 'loop', 'loop')])
def test_backstore_fits_the_format(data, default, expected):
    spec = parse(shapes.driver('nfs', **data), default_backstore=default)
    assert spec.backstore == expected


def test_virtuozzos_iso_means_raw():
    assert parse(shapes.driver('vzstorage')).format == 'raw'


def test_quobytes_scheme_is_no_part_of_the_export():
    spec = parse(shapes.driver('quobyte', export='quobyte://reg1/openstack'))
    assert spec.export == 'reg1/openstack'


@pytest.mark.parametrize('kind', ['nfs', 'nfs-ipv6', 'nfs-slash'])
def test_export_hash_is_that_of_os_brick(kind):
    client = remotefs.RemoteFsClient('nfs', 'sudo', nfs_mount_point_base='/mnt')
    spec = parse(shapes.driver(kind))
    assert client.get_mount_point(spec.export) == f'/mnt/{spec.export_hash}'


@pytest.mark.parametrize(('export', 'shown'), [
    ('cluster1:SECRET', 'cluster1:***'), ('mds1,mds2:/cluster1:SECRET', 'mds1,mds2:/cluster1:***'),
    ('mds1:/cluster1:SEC/RET', 'mds1:/cluster1:***'), ('mds1:/c:SECRET:/x', 'mds1:/c:***'),
    ('//user:SECRET@nas/share', '//***@nas/share'), ('//user:p@SECRET@nas/s', '//***@nas/s'),
    ('//nas/share,password=SECRET', '//nas/share,password=***'),
    ('//nas/share?vers=3&PASS=SECRET&ro', '//nas/share?vers=3&PASS=***&ro'),
    ('192.0.2.10:/exports/cinder', '192.0.2.10:/exports/cinder'),
    ('[fd00::1]:/vol', '[fd00::1]:/vol'), ('fd00::3:/vol', 'fd00::3:/vol')])
def test_a_password_in_an_export_is_not_shown(export, shown):
    spec = parse({'export': export, 'name': 'volume'})
    assert spec.export == export
    assert spec.export_shown == shown
    assert 'SECRET' not in repr(spec)


@pytest.mark.parametrize(('export', 'shown'), [
    ('quobyte://reg1/vols', 'quobyte://reg1/vols'), ('reg1/vols', 'reg1/vols'),
    ('quobyte://reg1:7861/vols', 'quobyte://reg1:***'),
    ('quobyte://user:SECRET@reg1/vols', 'quobyte://user:***'),
    ('quobyte://SECRET@reg1/vols', 'quobyte://***@reg1/vols')])
def test_the_scheme_of_an_export_is_shown_as_it_was_given(export, shown):
    properties = {'export': export, 'name': 'volume'}
    for spec in (parse(properties), parse_leniently(properties, lpar_uuid=LPAR),
                 parse_leniently({**properties, 'data': {'export': 5}}, lpar_uuid=LPAR)):
        assert spec.export == export.removeprefix('quobyte://')
        assert spec.export_shown == shown
        assert 'SECRET' not in repr(spec)


def test_leniently_takes_what_is_left_of_a_volume():
    spec = parse_leniently(
        {'data': {'export': 5, 'name': 'v', 'encrypted': 'maybe', 'format': 'vmdk',
                  'access_mode': 'ro', 'slot': 'x'}, 'serial': 'id-1'}, lpar_uuid=LPAR)
    assert (spec.export, spec.name, spec.volume_id) == (None, 'v', 'id-1')


@pytest.mark.parametrize(('keys', 'expected'), [
    ({'driver_volume_type': 'nfs', 'export': 'e', 'name': 'v', 'device_path': '/w'}, ('e', None)),
    ({'driver_volume_type': 'nfs', 'export': 'e', 'device_path': '/w'}, (None, '/w')),
    ({'driver_volume_type': 'gpfs', 'path': '/w', 'device_path': '/v'}, (None, '/v')),
    ({'driver_volume_type': 'gpfs', 'path': '/w', 'device_path': 'None'}, (None, '/w')),
    ({'path': '/v', 'export': 'e', 'name': 'w'}, (None, '/v')),
    ({'export': 'e', 'name': 'w'}, ('e', None))])
def test_leniently_reads_the_place_that_connecting_reads(keys, expected):
    spec = parse_leniently(keys, lpar_uuid=LPAR)
    assert (spec.export, spec.path) == expected


@pytest.mark.parametrize(('properties', 'expected'), [
    ({'volume_id': 'id', 'data': None}, {'volume_id': 'id'}),
    ({'path': '/v', 'data': 'gone'}, {'path': '/v'}),
    ({'lpar_uuid': OTHER, 'data': []}, {'lpar_uuid': OTHER}),
    ({'volume_id': 5, 'serial': 'id'}, {'volume_id': 'id'}),
    ({'volume_id': 'id', 'data': {'volume_id': 5}}, {'volume_id': 'id'}),
    ({'serial': 'id', 'data': {'volume_id': 5, 'serial': []}}, {'volume_id': 'id'}),
    ({'path': '/v', 'data': {'path': 7}}, {'path': '/v'}),
    ({'lpar_uuid': OTHER, 'data': {'lpar_uuid': 'web01'}}, {'lpar_uuid': OTHER})])
def test_leniently_a_wrong_key_hides_none_that_is_right(properties, expected):
    spec = parse_leniently(properties, lpar_uuid=LPAR)
    assert {key: getattr(spec, key) for key in expected} == expected


@pytest.mark.parametrize('nothing', [None, {}, 'gone', {'data': None}])
def test_leniently_takes_nothing_at_all(nothing):
    assert parse_leniently(nothing, lpar_uuid=LPAR).lpar_uuid == LPAR


def test_leniently_still_needs_an_lpar():
    with pytest.raises(exceptions.InvalidConnectionProperties, match='lpar_uuid'):
        parse_leniently(shapes.driver('nfs'))


@pytest.mark.parametrize('empty', [None, '', Text()])
@pytest.mark.parametrize(('key', 'value'), [
    ('volume_id', 'id'), ('lpar_uuid', OTHER), ('slot', 7), ('lua', 'lun3'), ('multiattach', True),
    ('backstore', 'fileio'), ('mount_point_base', '/base'), ('export', 'nas1:/vols'),
    ('name', 'v')])
def test_a_key_that_the_data_leaves_empty_keeps_its_value_beside_the_data(key, value, empty):
    data = {**shapes.data_only('nfs'), key: empty}
    info = {'driver_volume_type': 'nfs', 'data': data, key: value}
    assert getattr(parse(info), key) == value
    if key not in ('slot', 'lua', 'multiattach', 'backstore'):
        assert getattr(parse_leniently(info, lpar_uuid=LPAR), key) == value


@pytest.mark.parametrize('empty', [None, '', Text()])
def test_an_empty_key_counts_as_missing(empty):
    keys = ('slot', 'lua', 'multiattach', 'encrypted', 'backstore', 'format', 'access_mode',
            'volume_id', 'lpar_uuid', 'mount_point_base')
    assert parse({'path': '/mnt/v', **dict.fromkeys(keys, empty)}) == parse({'path': '/mnt/v'})


@pytest.mark.parametrize(('properties', 'named'), [
    ({'export': 'nas1:/vols', 'name': 'v', 'volume_id': 'id'}, 'id'),
    ({'export': 'nas1:/vols', 'name': 'v'}, 'v'), ({'path': '/mnt/v'}, '/mnt/v'),
    ({'path': '/mnt/v', 'volume_id': 'id'}, 'id'), ({}, '(unknown)')])
def test_messages_name_a_volume_by_id_name_or_path(properties, named):
    assert parse_leniently(properties, lpar_uuid=LPAR).label == named


def test_device_info_survives_json():
    info = DeviceInfo(path='/mnt/a', slot=4, lua='lun1', udid='u', lpar_uuid=LPAR)
    assert DeviceInfo.parse(json.loads(json.dumps(info.to_dict()))) == info
    assert info.to_dict()['type'] == 'file'


@pytest.mark.parametrize('stored', [
    None, 'x', {}, {'path': 5, 'slot': 'x', 'udid': ''}, {'lpar_uuid': 'garbage'}, {'slot': True},
    {'path': 'volume-1'}, {'path': '/mnt/link/../v'}, {'path': '/mnt/a\0b'}, {'path': '/\ud800'},
    {'path': '/a' * 150_000}, {'path': '/' + 'n' * 256}, {'udid': '\ud800'}, {'volume_id': '\0'}])
def test_device_info_that_makes_no_sense_counts_as_missing(stored):
    assert DeviceInfo.parse(stored) == DeviceInfo()


class Number(int):
    """A number of another type."""

    def __int__(self):
        return 5

    __index__ = __int__


@pytest.mark.parametrize('key', ['export', 'name', 'path', 'device_path', 'volume_id', 'serial',
                                 'lpar_uuid', 'mount_point_base', 'lua', 'backstore'])
def test_a_text_of_another_type_becomes_plain_text(key):
    value = {'path': '/mnt/v', 'device_path': '/mnt/v', 'lpar_uuid': OTHER, 'backstore': 'fileio',
             'mount_point_base': '/mnt', 'export': 'quobyte://nas1/vols'}.get(key, 'v')
    attribute = {'device_path': 'path', 'serial': 'volume_id'}.get(key, key)
    other = {} if key.endswith('path') else {'export': 'nas1:/vols', 'name': 'w'}
    for parse_one in (parse, functools.partial(parse_leniently, lpar_uuid=LPAR)):
        taken = getattr(parse_one({**other, key: Text(value)}), attribute)
        if taken is not None and (parse_one is parse or key not in ('lua', 'backstore')):
            assert (type(taken), taken) == (str, value.removeprefix('quobyte://'))


@pytest.mark.parametrize('parse_one', [connection_properties.parse, parse_leniently])
def test_an_lpar_of_another_type_becomes_plain_text(parse_one):
    taken = parse_one({'path': '/mnt/v'}, lpar_uuid=Text(LPAR)).lpar_uuid
    assert (type(taken), taken) == (str, LPAR)


def test_a_slot_of_another_type_becomes_a_plain_number():
    for taken in (parse({'path': '/mnt/v', 'slot': Number(7)}).slot,
                  DeviceInfo.parse({'slot': Number(7)}).slot):
        assert (type(taken), taken) == (int, 7)
    assert parse({'path': '/mnt/v', 'slot': Text('7')}).slot == 7


def test_device_info_holds_plain_text_whatever_is_stored():
    info = DeviceInfo.parse({'path': Text('/mnt/v'), 'udid': Text('u'), 'lpar_uuid': Text(LPAR)})
    assert info == DeviceInfo(path='/mnt/v', udid='u', lpar_uuid=LPAR)
    assert {type(value) for value in (info.path, info.udid, info.lpar_uuid)} == {str}


def test_a_wrong_text_of_another_type_is_quoted_as_it_is():
    for properties in ({'path': Text('v')}, {'path': '/mnt/v', 'slot': Text('v')},
                       {'path': '/mnt/v', 'encrypted': Text('v')}):
        with pytest.raises(exceptions.InvalidConnectionProperties, match="'v'"):
            parse(properties)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
KEYS = st.sampled_from([
    'driver_volume_type', 'data', 'export', 'name', 'device_path', 'path', 'format', 'encrypted',
    'access_mode', 'volume_id', 'serial', 'slot', 'lua', 'multiattach', 'backstore', 'lpar_uuid',
    'mount_point_base', 'options', 'qos_specs'])


@given(st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON)))
def test_whatever_comes_in_a_spec_or_our_error_comes_out(anything):
    try:
        spec = parse(anything)
    except exceptions.FileIOConnectorError:
        return
    assert (spec.path is None) == (spec.export is not None)
    assert spec.path is None or spec.path.startswith('/')
    assert spec.name is None or '/' not in spec.name


@given(JSON | st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON)))
def test_leniently_never_fails_when_the_lpar_is_given(anything):
    assert parse_leniently(anything, lpar_uuid=LPAR).lpar_uuid


@pytest.mark.parametrize(('keys', 'kind'), [
    ({'export': 'nas1:/vols', 'name': 'v'}, Kind.NETWORK),
    ({'device_path': '/gpfs/v', 'name': 'v'}, Kind.CLUSTER),
    ({'device_path': '/gpfs/v'}, Kind.LOCAL),
    ({'path': '/mnt/v'}, Kind.LOCAL),
    ({'driver_volume_type': 'gpfs', 'data': {'device_path': '/gpfs/v'}}, Kind.CLUSTER),
    ({'driver_volume_type': 'local', 'data': {'device_path': '/gpfs/v', 'name': 'v'}}, Kind.LOCAL),
    ({'driver_volume_type': 'quobyte', 'data': {'export': 'q/v', 'name': 'v'}}, Kind.NETWORK),
    ({'driver_volume_type': 'file', 'data': {'device_path': '/g/v', 'name': 'v'}}, Kind.CLUSTER)])
def test_without_a_type_the_keys_decide_what_kind_of_volume_it_is(keys, kind):
    assert parse(keys).kind is kind


@pytest.mark.parametrize('path', ['/mnt/../etc/shadow', '/mnt/link/../v', '/..', '/mnt/v/..'])
@pytest.mark.parametrize('key', ['path', 'device_path'])
def test_a_path_with_two_dots_is_refused(key, path):
    with pytest.raises(exceptions.UnsafeVolumePath, match=r"contains '\.\.'"):
        parse({key: path})
    assert parse_leniently({key: path}, lpar_uuid=LPAR).path is None


@pytest.mark.parametrize('path', [
    '/' * 300_000, '/' + 'a/' * 3000, '/mnt/' + 'n' * 256, '/mnt/' + 'é' * 128],
    ids=['slashes', 'deep', 'long name', 'long name in UTF-8'])
def test_a_path_that_linux_cannot_open_is_refused_when_parsed(path):
    with pytest.raises(exceptions.UnsafeVolumePath, match='at most'):
        parse({'path': path})


def test_a_path_as_long_as_linux_can_open_is_taken():
    path = '/' + '/'.join(['n' * 255] * 15) + '/' + 'n' * 254
    assert len(path) == 4095
    assert parse({'path': path}).path == path


def test_a_name_that_no_file_system_holds_is_refused():
    with pytest.raises(exceptions.UnsafeVolumePath, match='at most 255'):
        parse({'export': 'nas1:/vols', 'name': 'n' * 256})


@pytest.mark.parametrize('export', ['quobyte://', '/', '//', 'quobyte:///', 'nfs://', 'glusterfs:',
                                    'nas1:', 'file:///', 'quobyte://quobyte://'])
def test_an_export_that_names_nothing_is_refused(export):
    properties = {'export': export, 'name': 'v'}
    with pytest.raises(exceptions.InvalidConnectionProperties, match='names no export'):
        parse(properties)
    assert parse_leniently(properties, lpar_uuid=LPAR).export is None


@pytest.mark.parametrize('export', ['nas1:/', '[fd00::1]:/', 'quobyte://reg/v', 'nas1:/c:', 'c'])
def test_a_short_export_is_accepted(export):
    assert parse({'export': export, 'name': 'v'}).export == export.removeprefix('quobyte://')


@pytest.mark.parametrize('key', ['export', 'name', 'path', 'device_path', 'volume_id', 'serial',
                                 'mount_point_base', 'driver_volume_type', 'lua', 'format'])
@pytest.mark.parametrize('text', ['\ud800', 'nas1:/\ud800', 'nas1:/\udfff/x', '/\ud800', '/\0'])
def test_what_no_bytes_can_stand_for_is_refused_everywhere(key, text):
    properties = {'export': 'nas1:/vols', 'name': 'v', key: text}
    with pytest.raises(exceptions.InvalidConnectionProperties, match=key):
        parse(properties)
    assert parse_leniently(properties, lpar_uuid=LPAR)


def test_bytes_of_an_export_that_are_not_utf8_are_kept():
    assert parse({'export': 'nas1:/\udcff', 'name': 'v'}).export_hash == hashlib.md5(
        b'nas1:/\xff').hexdigest()


@pytest.mark.parametrize('path', ['/mnt/é', '/mnt/€/v', '/mnt/𝄞', '/mnt/' + 'é' * 127])
def test_a_path_is_measured_in_utf8_whatever_the_locale(path):
    code = f"""
from powervm_fileio_connector.connection_properties import parse, parse_leniently
from powervm_fileio_connector.volume import DeviceInfo
path = {path!a}
assert parse({{'path': path}}, need_lpar=False).path == path
assert parse_leniently({{'path': path}}, need_lpar=False).path == path
assert DeviceInfo.parse({{'path': path}}).path == path
"""
    subprocess.run([sys.executable, '-X', 'utf8=0', '-c', code], check=True, timeout=60,
                   env=os.environ | {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0'})


@pytest.mark.parametrize('base', ['/a' * 150_000, '/mnt/' + 'n' * 256, '/mnt/../etc', 5,
                                  'mnt', ' '])
def test_a_base_that_is_no_directory_is_refused(base):
    properties = {'export': 'nas1:/vols', 'name': 'v', 'mount_point_base': base}
    with pytest.raises(exceptions.InvalidConnectionProperties, match='mount_point_base'):
        parse(properties)
    assert parse_leniently(properties, lpar_uuid=LPAR).mount_point_base is None


def test_an_export_is_not_sent_so_it_may_contain_a_tab():
    assert parse({'export': 'nas1:/vo\tls', 'name': 'v'}).export == 'nas1:/vo\tls'


@pytest.mark.parametrize('slot', [10 ** 5000, '1' * 5000, -10 ** 5000, [10 ** 5000], 2.5, True],
                         ids=['large', 'long', 'low', 'list', 'fraction', 'truth'])
def test_a_value_that_is_no_slot_is_an_invalid_property(slot):
    with pytest.raises(exceptions.InvalidConnectionProperties, match='slot'):
        parse({'path': '/mnt/v', 'slot': slot})


@pytest.mark.parametrize('key', ['multiattach', 'encrypted'])
def test_a_number_of_any_length_is_no_truth_value(key):
    with pytest.raises(exceptions.InvalidConnectionProperties, match=key):
        parse({'path': '/mnt/v', key: 10 ** 5000})
