# SPDX-License-Identifier: Apache-2.0
"""Statements about new mappings that NovaLink refuses, sent without any check of our own."""

from __future__ import annotations

import os
import uuid
from typing import Any

from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Lines
from powervm_fileio_connector.cli.qualification.lines import expect
from powervm_fileio_connector.cli.qualification.rest_lines import is_refused
from powervm_fileio_connector.cli.qualification.site import Site
from powervm_fileio_connector.cli.qualification.site import of_first
from powervm_fileio_connector.mappings import MappingRecord

LINES = Lines()


@LINES.add('lpar_known', 'the LPAR of a new disk exists')
def _lpar_known(site: Site) -> Finding:
    return _refused(site, lpar_uuid=str(uuid.uuid4()).upper())


@LINES.add('slot_free', 'a slot that is asked for is not in use')
@of_first
def _slot_free(site: Site, first: MappingRecord) -> Finding:
    return _refused(site, slot=first.slot)


@LINES.add('slot_range', 'a slot that is asked for is one that the LPAR has')
def _slot_range(site: Site) -> Finding:
    return _refused(site, slot=60000)


@LINES.add('lua_free', 'a LUA that is asked for is not in use on its bus')
@of_first
def _lua_free(site: Site, first: MappingRecord) -> Finding:
    return _refused(site, bus=site.entry_of(first.path), lua=first.lua)


@LINES.add('lua_form', 'a LUA that is asked for looks like one')
def _lua_form(site: Site) -> Finding:
    return _refused(site, lua='first')


@LINES.add('path_absolute', 'the path of a file is absolute')
def _path_absolute(site: Site) -> Finding:
    path = site.make_file('relative')
    return _refused(site, path=os.path.relpath(path, '/'))


@LINES.add('file_exists', 'the file of a new disk exists')
def _file_exists(site: Site) -> Finding:
    return _refused(site, path=os.path.join(site.directory, 'no-such-file'))


@LINES.add('file_regular', 'the file of a new disk is no directory')
def _file_regular(site: Site) -> Finding:
    path = os.path.join(site.directory, 'a-directory')
    os.mkdir(path)
    return _refused(site, path=path)


@LINES.add('backstore_known', 'the backstore is loop, fileio or user:qcow')
def _backstore_known(site: Site) -> Finding:
    return _refused(site, backstore='tape')


@LINES.add('refusal_status', 'what is refused is answered with 400', 'NovaLink answers 400')
def _refusal_status(site: Site) -> Finding:
    answer = site.post_new({'path': os.path.join(site.directory, 'no-such-file-either')})
    return expect(answer.status == 400, f'status {answer.status}')


def _refused(site: Site, path: str | None = None, **wish: Any) -> Finding:
    path = path or site.make_file(f'refused-{uuid.uuid4().hex[:8]}')
    return is_refused(site.post_new({'path': path, **wish}))
