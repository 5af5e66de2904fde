# SPDX-License-Identifier: Apache-2.0
"""NovaLink's partitions: the management partition, and the client LPARs."""

from __future__ import annotations

import dataclasses
from typing import Any

from pypowervm.wrappers import logical_partition
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.novalink import failures
from powervm_fileio_connector.novalink.failures import FailureKind
from powervm_fileio_connector.novalink.failures import RequestFailed
from powervm_fileio_connector.novalink.rest import Rest

LOOKUP_S = 5.0
"""How long all edits that are committed together wait for what is asked about their LPARs."""


@dataclasses.dataclass(frozen=True)
class ManagementPartition:
    """The partition that NovaLink runs on, which serves the files."""

    uuid: str
    name: str
    id: int


@dataclasses.dataclass(frozen=True)
class LparInfo:
    """A client LPAR, as NovaLink sees it at one moment.

    :ivar can_change_io: whether disks can be attached and detached now; ``why_not`` says why not
    """

    uuid: str
    name: str
    id: int
    state: str
    rmc_state: str
    can_change_io: bool
    why_not: str

    @property
    def unready(self) -> str:
        """Why no disk can be attached or detached now, in words."""
        return f'{self.name} is {self.state} with RMC {self.rmc_state}: {self.why_not}'

    def require_ready(self) -> None:
        """:raises LPARNotReady: no disk can be attached or detached now"""
        if not self.can_change_io:
            raise exceptions.LPARNotReady(reason=self.unready, lpar=self.uuid)


def find_management_partition(rest: Rest, deadline: Deadline) -> ManagementPartition:
    """Ask for the management partition, which has to be an I/O server.

    :raises NovaLinkNotIOServer: it is an ordinary LPAR
    """
    try:
        for kind in (virtual_io_server.VIOS, logical_partition.LPAR):
            # Like pypowervm's search for it, which takes no timeout: there is no search key for it,
            # so all partitions of one kind are read, the few I/O servers first.
            response = rest.read(deadline, kind.schema_type)
            failures.require_feed(response, kind.schema_type)
            found = [wrapper for wrapper in kind.wrap(response) if wrapper.is_mgmt_partition]
            if len(found) > 1:
                names = ', '.join(wrapper.name for wrapper in found)
                raise exceptions.NovaLinkNotIOServer(
                    reason=f'several partitions say they are the management partition: {names}')
            if found and kind is virtual_io_server.VIOS:
                return ManagementPartition(_uuid(found[0]), found[0].name, found[0].id)
            if found:
                raise exceptions.NovaLinkNotIOServer(
                    reason=f'the management partition {found[0].name} is an ordinary LPAR, not an '
                    'I/O server', vios=found[0].name)
    except RequestFailed as err:
        raise failures.as_error(err) from err
    raise exceptions.NovaLinkNotIOServer(
        reason='no partition of this system is the management partition, as behind an HMC')


def require_own(partition: ManagementPartition) -> None:
    """Check that this runs on the management partition.

    :raises NotOnNovaLink: this runs on another partition
    """
    own_id = _own_partition_id()
    if own_id not in (None, partition.id):
        raise exceptions.NotOnNovaLink(
            reason=f'this host is partition {own_id}, but NovaLink runs on {partition.name}, '
            f'partition {partition.id}', vios=partition.name)


def lpar(rest: Rest, lpar_uuid: str, deadline: Deadline, is_tried_once: bool = False) -> LparInfo:
    """Return one LPAR.

    :param is_tried_once: make one request, and none again if it fails
    :raises RequestFailed: MISSING where there is none with this UUID
    """
    # A server may tell small letters from capitals, and LPARs that it shows are asked for in these.
    spellings = dict.fromkeys((lpar_uuid, lpar_uuid.lower(), lpar_uuid.upper()))

    def ask() -> Any:
        failure = None
        for spelling in spellings:
            try:
                return rest.request(deadline, 'read', logical_partition.LPAR.schema_type,
                                    root_id=spelling)
            except RequestFailed as err:
                failure = err
                if err.status not in failures.NOT_FOUND:
                    raise
        assert failure is not None
        # Where NovaLink does not say itself that there is none, what it lists does.
        if failure.kind is not FailureKind.MISSING and lpar_uuid.upper() not in {
                one.uuid.upper() for one in lpars(rest, deadline)}:
            raise RequestFailed(FailureKind.MISSING, failure.detail, failure.status) from failure
        raise failure

    response = ask() if is_tried_once else rest.retrying(deadline, ask)
    failures.require_entry(response, logical_partition.LPAR.schema_type)
    return _lpar_info(logical_partition.LPAR.wrap(response))


def lpars(rest: Rest, deadline: Deadline) -> list[LparInfo]:
    """Return all client LPARs.

    :raises RequestFailed: the server does not tell
    """
    response = rest.read(deadline, logical_partition.LPAR.schema_type)
    failures.require_feed(response, logical_partition.LPAR.schema_type)
    return [_lpar_info(wrapper) for wrapper in logical_partition.LPAR.wrap(response)]


def _own_partition_id() -> int | None:
    """Return the id of the partition that this runs on; None: this is no Power, so nothing tells.

    :raises NovaLinkUnavailable: this process has no descriptor left to read it, or may not
    """
    try:
        with open(conf.LPARCFG, encoding='ascii', errors='replace') as lines:
            for line in lines:
                name, _, value = line.partition('=')
                if name == 'partition_id' and value.strip().isdecimal():
                    return int(value)
    except FileNotFoundError:
        pass
    except OSError as err:
        raise exceptions.NovaLinkUnavailable(
            reason=f'which partition this is cannot be read from {conf.LPARCFG}: {err.strerror}',
            remedy=exceptions.REMEDY_SHORTAGE) from err
    return None


def _uuid(wrapper: Any) -> str:
    if not wrapper.uuid:
        raise RequestFailed(FailureKind.LOST, 'the answer does not tell the UUID of partition '
                            f'{wrapper.name}', is_read=True)
    return str(wrapper.uuid)


def _lpar_info(wrapper: Any) -> LparInfo:
    can_change_io, why_not = wrapper.can_modify_io()
    return LparInfo(uuid=_uuid(wrapper), name=wrapper.name, id=wrapper.id,
                    state=wrapper.state or '', rmc_state=wrapper.rmc_state or '',
                    can_change_io=can_change_io, why_not=str(why_not or '').rstrip('.'))
