# SPDX-License-Identifier: Apache-2.0
"""What a real server would refuse is refused, by a rule that can be named and switched off.

Each case is run with its rule in force (refused, nothing changed) and without it (not refused
by that rule): so each rule is what refuses, and none can go missing unnoticed.
"""

import stat
from pathlib import Path

import pytest
from lxml import etree
from pypowervm import const
from pypowervm import exceptions
from pypowervm.tasks import storage as storage_tasks
from pypowervm.wrappers import storage
from pypowervm.wrappers import virtual_io_server as vios

from powervm_fileio_connector.simulator import NovaLinkSimulator
from powervm_fileio_connector.simulator.rules import OPTIONAL
from powervm_fileio_connector.simulator.rules import RULES


class Bench:
    """A simulator, an adapter and shorthands."""

    def __init__(self, sim, make_file):
        self.sim, self.make_file = sim, make_file
        self.adapter = sim.adapter()

    def read(self, group=const.XAG.VIO_SMAP):
        return vios.VIOS.get(self.adapter, uuid=self.sim.vios_uuid, xag=[group])

    def mapping(self, path=None, lpar=0, slot=None, lua=None, backstore='loop', uuid=None):
        path = self.make_file() if path is None else path
        return vios.VSCSIMapping.bld(
            self.adapter, None, uuid or self.sim.lpars[lpar].uuid,
            storage.FileIO.bld(self.adapter, path, backstore_type=backstore),
            lpar_slot_num=slot, lua=lua)

    def add(self, *mappings, wrapper=None):
        wrapper = wrapper or self.read()
        for mapping in mappings:
            wrapper.scsi_mappings.append(mapping)
        return wrapper.update()

    def clone(self, mapping, name='clone', **kwargs):
        disk = storage.FileIO.bld(self.adapter, self.make_file(name))
        return vios.VSCSIMapping.bld_from_existing(mapping, disk, **kwargs)

    def post(self, body, etag=None, group=const.XAG.VIO_SMAP):
        etag = self.read().etag if etag is None else etag
        path = f'/rest/api/uom/VirtualIOServer/{self.sim.vios_uuid}?group={group}'
        return self.adapter.update_by_path(body, etag, path)


CASES = {}


def case(rule, status=400):
    """Register a way to break a rule."""
    def register(function):
        CASES[f'{rule}: {function.__name__}'] = (rule, status, function)
        return function
    return register


@case('session', 401)
def token_unknown(bench):
    bench.adapter.session._sessToken = 'wrong'
    bench.adapter.session._relogin_unsafe = True
    bench.add(bench.mapping())


@case('etag_given', 412)
def no_etag(bench):
    wrapper = bench.read()
    wrapper.scsi_mappings.append(bench.mapping())
    bench.post(wrapper, etag='')


@case('etag_current', 412)
def old_etag(bench):
    wrapper = bench.read()
    bench.add(bench.mapping(lpar=1))
    bench.add(bench.mapping(bench.make_file('other')), wrapper=wrapper)


@case('etag_current', 412)
def made_up_etag(bench):
    wrapper = bench.read()
    wrapper.scsi_mappings.append(bench.mapping())
    bench.post(wrapper, etag='12345')


@case('etag_group', 412)
def etag_of_another_group(bench):
    wrapper = bench.read()
    wrapper.scsi_mappings.append(bench.mapping())
    bench.post(wrapper, etag=bench.read('None').etag)


@case('group_taken')
def group_of_quick_properties(bench):
    bench.adapter.read('LogicalPartition', bench.sim.lpars[0].uuid, suffix_type='quick',
                       suffix_parm='PartitionID', xag=['None'])


@case('group_taken')
def group_of_a_job(bench):
    bench.adapter.read('VirtualIOServer', bench.sim.vios_uuid, suffix_type='do',
                       suffix_parm='RescanVirtualDisk', xag=['None'])


@case('element_order')
def storage_before_adapters(bench):
    mapping = bench.mapping()
    element = mapping.element.element
    element.insert(1, element.find('{*}Storage'))
    bench.add(mapping)


@case('element_order')
def tag_after_name(bench):
    mapping = bench.mapping()
    disk = mapping.element.element.find('.//{*}VirtualDisk')
    disk.insert(1, disk.find('{*}VirtualDiskType'))
    bench.add(mapping)


@case('document_type')
def lpar_document_posted_as_vios(bench):
    lpar = bench.adapter.read('LogicalPartition', bench.sim.lpars[0].uuid)
    bench.post(lpar.entry.element)


@case('lpar_known')
def lpar_unknown(bench):
    bench.add(bench.mapping(uuid='DEADBEEF-0000-4000-8000-000000000000'))


@case('lpar_known')
def disk_for_an_orphans_bus(bench):
    bench.add(bench.mapping())
    bench.sim.remove_lpar(bench.sim.lpars[0].uuid)
    wrapper = bench.read()
    bench.add(bench.clone(wrapper.scsi_mappings[0]), wrapper=wrapper)


@case('lpar_can_change_io')
def rmc_is_down(bench):
    bench.sim.change_lpar(bench.sim.lpars[0].uuid, rmc_state='inactive')
    bench.add(bench.mapping())


@case('lpar_can_change_io')
def not_capable_of_dlpar_on_an_existing_bus(bench):
    wrapper = bench.add(bench.mapping())
    bench.sim.change_lpar(bench.sim.lpars[0].uuid, io_dlpar=False)
    bench.add(bench.clone(wrapper.scsi_mappings[0]), wrapper=wrapper)


@case('slot_free')
def slot_taken(bench):
    bench.add(bench.mapping(slot=5))
    bench.add(bench.mapping(bench.make_file('other'), slot=5))


@case('slot_free')
def slot_of_another_bus(bench):
    wrapper = bench.add(bench.mapping(slot=5))
    bench.add(bench.clone(wrapper.scsi_mappings[0], lpar_slot_num=6), wrapper=wrapper)


@case('slot_range')
def slot_that_the_lpar_has_not(bench):
    bench.add(bench.mapping(slot=70000))


@case('server_slot_known')
def server_adapter_unknown(bench):
    mapping = bench.mapping()
    mapping.server_adapter.set_parm_value('VirtualSlotNumber', '77')
    bench.add(mapping)


@case('bus_of_lpar')
def adapters_of_another_lpar(bench):
    wrapper = bench.add(bench.mapping(lpar=0))
    clone = bench.clone(wrapper.scsi_mappings[0])
    clone._client_lpar_href(bench.mapping(lpar=1).client_lpar_href)
    bench.add(clone, wrapper=wrapper)


@case('lua_free')
def lua_taken(bench):
    wrapper = bench.add(bench.mapping(lua='lun4'))
    bench.add(bench.clone(wrapper.scsi_mappings[0], lua='lun4'), wrapper=wrapper)


@case('lua_form')
def lua_malformed(bench):
    bench.add(bench.mapping(lua='the first'))


@case('path_absolute')
def path_relative(bench):
    bench.make_file('here')
    bench.add(bench.mapping('relative/volume'))


@case('file_exists')
def file_missing(bench):
    bench.add(bench.mapping('/nonexistent/volume'))


@case('file_regular')
def path_of_a_directory(bench):
    bench.add(bench.mapping(str(Path(bench.make_file()).parent)))


@case('file_regular')
def path_of_a_character_device(bench):
    assert stat.S_ISCHR(Path('/dev/null').stat().st_mode)
    bench.add(bench.mapping('/dev/null'))


@case('backstore_known')
def backstore_unknown(bench):
    bench.add(bench.mapping(backstore='floppy'))


@case('udid_known', 'VstorNotFound')
def rescan_of_an_unknown_disk(bench):
    storage_tasks.rescan_vstor(bench.sim.vios_uuid, 'nothing', adapter=bench.adapter)


@case('rescan_kernel_backstore', 'JobRequestFailed')
def rescan_of_a_qcow_disk(bench):
    bench.add(bench.mapping(backstore='user:qcow'))
    storage_tasks.rescan_vstor(bench.sim.vios_uuid, bench.sim.mappings()[0].udid,
                               adapter=bench.adapter)


@case('removal_needs_lpar_io')
def removal_while_rmc_is_down(bench):
    wrapper = bench.add(bench.mapping())
    bench.sim.change_lpar(bench.sim.lpars[0].uuid, rmc_state='inactive')
    wrapper.scsi_mappings.remove(wrapper.scsi_mappings[0])
    wrapper.update()


def outcome(bench, function):
    """The status that refused it; None if nothing did."""
    try:
        function(bench)
    except exceptions.HttpError as err:
        return err.response.status
    except (exceptions.VstorNotFound, exceptions.JobRequestFailed) as err:
        return type(err).__name__
    return None


# Switched off, some rules let something through that another rule still refuses.
BEHIND = {'path_absolute': 'file_exists'}


@pytest.mark.parametrize('name', CASES)
def test_broken_rule_is_refused_and_only_by_that_rule(novalink, make_file, name):
    rule, status, function = CASES[name]
    bench = Bench(novalink, make_file)
    rules = novalink.state.rules
    with rules.also(rule):
        assert outcome(bench, function) == status
    # The same on a fresh host, without the rule.
    with NovaLinkSimulator() as other:
        off = [rule, *([BEHIND[rule]] if rule in BEHIND else [])]
        with other.state.rules.without(*off):
            assert outcome(Bench(other, make_file), function) is None


def test_every_rule_has_a_case_that_breaks_it():
    assert {rule for rule, _, _ in CASES.values()} == {*RULES, *OPTIONAL}


def test_refusal_of_one_mapping_changes_nothing_of_the_others(novalink, make_file):
    bench = Bench(novalink, make_file)
    bench.add(bench.mapping(bench.make_file('first')))
    before = novalink.state.snapshot()
    wrapper = bench.read()
    etag = wrapper.etag
    wrapper.scsi_mappings.remove(wrapper.scsi_mappings[0])
    with pytest.raises(exceptions.HttpError, match='does not exist'):
        bench.add(bench.mapping(bench.make_file('good')), bench.mapping('/nonexistent/bad'),
                  wrapper=wrapper)
    assert novalink.state.snapshot() == before
    assert bench.read().etag == etag


def test_files_facts_are_taken_from_the_file_system(novalink, make_file):
    bench = Bench(novalink, make_file)
    bench.add(bench.mapping(make_file('big', 35 * 2**30)))
    assert novalink.mappings()[0].capacity_gb == '35'


def test_rule_is_in_force_again_after_the_block(novalink):
    rules = novalink.state.rules
    with rules.without('slot_free'):
        assert 'slot_free' not in rules
    assert 'slot_free' in rules


def test_unknown_rule_names_the_known_ones(novalink):
    with pytest.raises(KeyError, match='slot_free'):
        novalink.state.rules.switch('gravity', False)


@pytest.mark.parametrize(('method', 'path'), [
    ('GET', '/rest/api/uom/Teapot'), ('GET', '/rest/api/web/File'),
    ('GET', '/rest/api/uom/jobs/1'), ('GET', '/somewhere/else'),
    ('DELETE', '/rest/api/uom/LogicalPartition/DEADBEEF-0000-4000-8000-000000000000')])
def test_unknown_request_is_answered_by_what_is_known(novalink, method, path):
    adapter = novalink.adapter()
    with pytest.raises(exceptions.HttpNotFound) as caught:
        adapter.session.request(method, path)
    message = etree.fromstring(caught.value.response.body.encode()).findtext('.//{*}Message')
    assert path.split('/')[-1] in message
    assert 'know' in message or 'There is no' in message
