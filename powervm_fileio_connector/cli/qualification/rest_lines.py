# SPDX-License-Identifier: Apache-2.0
"""Statements about NovaLink's REST server: sessions, etags, groups, searches and jobs."""

from __future__ import annotations

import json
import re
import uuid
from urllib import parse

from pypowervm.wrappers import job

from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Lines
from powervm_fileio_connector.cli.qualification.lines import differs
from powervm_fileio_connector.cli.qualification.lines import expect
from powervm_fileio_connector.cli.qualification.lines import not_tried
from powervm_fileio_connector.cli.qualification.site import GROUP
from powervm_fileio_connector.cli.qualification.site import Exchange
from powervm_fileio_connector.cli.qualification.site import Site
from powervm_fileio_connector.cli.qualification.site import of_first
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.mappings import MappingTable

LINES = Lines()

_HAS_MAPPINGS = re.compile(rb'<(?:\w+:)?VirtualSCSIMappings[ />]')


def is_refused(answer: Exchange) -> Finding:
    """Return whether a request was refused, with its status."""
    return expect(answer.status >= 400, f'status {answer.status}')


@LINES.add('session', 'a request needs a valid session token')
def _session(site: Site) -> Finding:
    answer = site.get(site.vios_path(), is_logged_on=False)
    return expect(answer.status in (401, 403), f'status {answer.status}')


@LINES.add('if_none_match', 'what has not changed since an etag is answered with 304')
def _if_none_match(site: Site) -> Finding:
    first = site.get(site.vios_path())
    if first.etag is None:
        return not_tried('the answer has no etag in its headers')
    again = site.get(site.vios_path(), headers={'If-None-Match': first.etag})
    return expect(again.status == 304, f'status {again.status}')


@LINES.add('no_group_is_all', 'a request without a group means all groups',
           'A request without a group means all groups')
def _no_group(site: Site) -> Finding:
    answer = site.get(site.vios_path(group=None))
    shows = bool(_HAS_MAPPINGS.search(answer.answer))
    return expect(shows, f'the mappings are {"shown" if shows else "left out"}')


@LINES.add('quick_without_group', 'a request for quick properties has no group')
def _quick_without_group(site: Site) -> Finding:
    return is_refused(site.get(site.vios_path('/quick/All', group='None')))


@LINES.add('quick_properties', 'the quick properties of a VIOS are like those of an LPAR',
           'The quick properties of a VIOS')
def _quick_properties(site: Site) -> Finding:
    answer = site.get(site.vios_path('/quick/All', group=None))
    if answer.status != 200:
        return differs(f'status {answer.status}')
    try:
        found = json.loads(answer.answer)
    except ValueError:
        return differs('it is not JSON')
    if not isinstance(found, dict):
        return differs('it is no JSON object')
    names = {'UUID', 'PartitionName', 'PartitionID'} - set(found)
    return expect(not names, f'missing: {", ".join(sorted(names))}' if names else '')


@LINES.add('search', 'partitions can be searched by name', 'Partitions can be searched')
def _search(site: Site) -> Finding:
    name = parse.quote(site.lpar.name, safe='')
    answer = site.get(f"/rest/api/uom/LogicalPartition/search/(PartitionName=='{name}')")
    return expect(answer.status == 200 and site.lpar.uuid.upper().encode() in answer.answer.upper(),
                  f'status {answer.status}')


@LINES.add('volume_group', 'a VIOS has one volume group without virtual disks',
           'A VIOS has one volume group')
def _volume_group(site: Site) -> Finding:
    answer = site.get(site.vios_path('/VolumeGroup', group=None))
    groups = len(re.findall(rb'<(?:\w+:)?GroupName\b', answer.answer))
    disks = len(re.findall(rb'<(?:\w+:)?VirtualDisk[ >]', answer.answer))
    return expect(answer.status == 200 and (groups, disks) == (1, 0),
                  f'status {answer.status}, {groups} groups, {disks} virtual disks')


@LINES.add('etag_given', 'a change needs an etag')
def _etag_given(site: Site) -> Finding:
    return is_refused(site.post(site.table().body(), None))


@LINES.add('unchanged_post', 'a POST of the unchanged document is accepted, and keeps its etag',
           'A document that is posted unchanged keeps its etag')
def _unchanged_post(site: Site) -> Finding:
    table = site.table()
    answer = site.post(table.body(), table.vios_w.etag)
    if answer.status >= 300:
        return differs(f'status {answer.status}')
    after = site.table().vios_w.etag
    return expect(after == table.vios_w.etag, f'POST took {answer.took_s:.2f} s')


@LINES.add('etag_current', 'a change with an old etag is refused with 412')
def _etag_current(site: Site) -> Finding:
    old = _outdated(site)
    answer = site.post(old.body(), old.vios_w.etag)
    return expect(answer.status == 412, f'status {answer.status}')


@LINES.add('stale_is_quick', 'a change with an old etag is refused at once',
           'A VIOS makes one change at a time')
def _stale_is_quick(site: Site) -> Finding:
    old, now = _outdated(site), site.table()
    accepted = site.post(now.body(), now.vios_w.etag)
    refused = site.post(old.body(), old.vios_w.etag)
    return expect(refused.took_s <= 2 * accepted.took_s + 1,
                  f'{refused.took_s:.2f} s, an accepted one {accepted.took_s:.2f} s')


@LINES.add('etag_group', 'an etag is valid for the group that it was read with only')
def _etag_group(site: Site) -> Finding:
    other = site.get(site.vios_path(group='None')).etag
    if other is None:
        return not_tried('the answer has no etag in its headers')
    answer = site.post(site.table().body(), other)
    return expect(answer.status == 412, f'status {answer.status}')


@LINES.add('etags_of_other_groups', 'a change of mappings keeps the etags of other groups',
           'A change of the mappings leaves the etags')
def _etags_of_other_groups(site: Site) -> Finding:
    before = site.get(site.vios_path(group='None')).etag
    path = site.make_file('etags')
    site.detach(site.attach(path))
    after = site.get(site.vios_path(group='None')).etag
    return expect(before == after, '' if before == after else 'the etag of group None is new')


@LINES.add('groups_in_answer', f'a document that is read with group {GROUP} has its mappings')
def _groups_in_answer(site: Site) -> Finding:
    return expect(_HAS_MAPPINGS.search(site.get(site.vios_path()).answer), '')


@LINES.add('only_mappings_change', 'a POST changes nothing of a VIOS but its mappings',
           'The server changes nothing of a VIOS')
def _only_mappings_change(site: Site) -> Finding:
    return not_tried('it would need a change of the VIOS that does not concern us')


@LINES.add('job_at_once', 'a rescan that takes no time is answered as completed',
           'A job that takes no time is answered')
@of_first
def _job_at_once(site: Site, first: MappingRecord) -> Finding:
    status = _rescan_status(site, str(first.udid))
    return expect(status == job.JobStatus.COMPLETED_OK, status)


@LINES.add('udid_known', 'only disks that are mapped can be rescanned')
def _udid_known(site: Site) -> Finding:
    status = _rescan_status(site, str(uuid.uuid4()))
    return expect(status != job.JobStatus.COMPLETED_OK, status)


@LINES.add('rescan_failures', 'a rescan that fails for another reason has another return code',
           'A rescan that fails')
def _rescan_failures(site: Site) -> Finding:
    return not_tried('no other failure can be caused without harm')


def _outdated(site: Site) -> MappingTable:
    """Return the mappings as they were before a change."""
    old = site.table()
    site.post_new({'path': site.make_file(f'outdated-{uuid.uuid4().hex[:8]}')})
    return old


def _rescan_status(site: Site, udid: str) -> str:
    """Return the status of a rescan, as its first answer shows it."""
    adapter = site.client.adapter
    template = job.Job.wrap(adapter.read(
        'VirtualIOServer', root_id=site.partition.uuid, suffix_type='do',
        suffix_parm='RescanVirtualDisk'))
    template.add_job_parameters_to_existing(
        job.Job.create_job_parameter('VirtualDiskUDID', udid))
    found = job.Job.wrap(adapter.create_job(
        template.entry.element, 'VirtualIOServer', site.partition.uuid))
    # A rescan changes the document.
    site.client.committer(site.partition.uuid).forget()
    return str(found.job_status)
