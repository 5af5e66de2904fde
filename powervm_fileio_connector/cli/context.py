# SPDX-License-Identifier: Apache-2.0
"""NovaLink and this host's shares, as the command line and the options say."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import re
import uuid
from collections.abc import Iterator
from typing import Any

from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_utils import uuidutils

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import mappings
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.cli import options
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.host import probe
from powervm_fileio_connector.novalink import Client
from powervm_fileio_connector.novalink import Committer
from powervm_fileio_connector.novalink import LparInfo
from powervm_fileio_connector.novalink import ManagementPartition
from powervm_fileio_connector.novalink import client_for
from powervm_fileio_connector.volume import UUID

LOG = logging.getLogger(__name__)

# For probes that are denied to the operator: who is not root, or root squashed by a server. -n: a
# password that is asked for within a probe's deadline comes too late, and the terminal stays mute.
ROOT_HELPER = 'sudo -n'

# As our errors have them.
_LPAR = re.compile(rf'(the LPAR )?(?:({UUID.pattern})|(?<=\bLPAR )with id ([0-9]+)\b)')


class CommandContext:
    """NovaLink and the shares, as commands use them; each thing is asked for when it is needed.

    One session serves a whole command.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._simulator = args.simulator
        self._until = None if args.timeout is None else Deadline(args.timeout)
        self.config = options.config(args)
        self.settings = conf.read(self.config)
        self.prober = probe.Prober(self.settings.probe_timeout_s, execute=processutils.execute,
                                   root_helper=ROOT_HELPER)

    @property
    def address(self) -> str:
        """The address of NovaLink, for messages."""
        port = self.settings.novalink_port
        return self.settings.novalink_host + (f':{port}' if port else '')

    @functools.cached_property
    def client(self) -> Client:
        """The client of NovaLink, whose session is open.

        :raises UsageError: the server that should be a simulator is none
        """
        if self._simulator is not None:
            options.require_simulator(self._simulator)
            LOG.info('That this host is the management partition is not checked for a simulator.')
        client = client_for(self.settings, checks_host=self._simulator is None)
        with doing(f'reach NovaLink at {self.address}'):
            client.log_on(self.deadline())
        return client

    @functools.cached_property
    def partition(self) -> ManagementPartition:
        """The management partition, which must be an I/O server and this very host."""
        with doing('ask NovaLink for its management partition'):
            return self.client.management_partition(self.deadline())

    @functools.cached_property
    def lpars(self) -> list[LparInfo]:
        """All client LPARs."""
        with doing('ask NovaLink for its LPARs'):
            return self.client.lpars(self.deadline())

    @functools.cached_property
    def writer(self) -> Committer:
        """What carries edits to the management partition's document."""
        return self.client.committer(self.partition.uuid)

    def records(self) -> list[mappings.MappingRecord]:
        """The mappings of the management partition, read afresh."""
        with doing('ask NovaLink for its disks'):
            return [entry.record for entry in
                    self.writer.read_table(self.deadline()).entries()]

    @property
    def attachments(self) -> Attachments:
        """Plans of attaching and detaching, over the same session, in the time that is left now."""
        left_s = self.deadline().left()     # by --timeout, which is for all requests together
        return Attachments(dataclasses.replace(self.settings, rest_timeout_s=left_s), self.prober,
                           self.client)

    def deadline(self) -> Deadline:
        """The time that one request to NovaLink may take, counted from now."""
        left_s = self.settings.rest_timeout_s
        return Deadline(left_s if self._until is None else min(left_s, self._until.left()))

    def lpar_uuid(self, text: str) -> str:
        """Return the UUID of an LPAR that the user named.

        :raises LPARNotFound: there is none of that name, id or UUID
        :raises UsageError: there are several
        """
        is_uuid = uuidutils.is_uuid_like(text)
        named = str(uuid.UUID(text)) if is_uuid else text
        found = [lpar for lpar in self.lpars
                 if named in (lpar.name, str(lpar.id), lpar.uuid.lower())]
        if not found:
            what = 'UUID' if is_uuid else 'name or id'
            raise exceptions.LPARNotFound(
                doing=f'find LPAR {text}', reason=f'none of the {len(self.lpars)} LPARs that '
                f'NovaLink knows has the {what} {text}', lpar=text,
                remedy='Check the name; "pvmctl lpar list" shows all.')
        if len(found) > 1:
            raise UsageError(f'{text} may be any of '
                             + ' or '.join(f'LPAR {lpar.id} {lpar.name} ({lpar.uuid})'
                                           for lpar in found) + '. Give the UUID.')
        return found[0].uuid

    def require_ready(self, lpar_uuid: str) -> None:
        """Check what NovaLink checks when it is sent a change.

        :raises LPARNotReady: the LPAR cannot change its I/O now
        """
        lpar = self._lpars_by_uuid.get(lpar_uuid.upper())
        if lpar is not None:
            lpar.require_ready()

    def lpar_shown(self, lpar_uuid: str | None) -> str | None:
        """An LPAR as users know it; its name only if it is known anyway."""
        known = self._lpars_by_uuid if 'lpars' in vars(self) else {}
        lpar = known.get((lpar_uuid or '').upper())
        return lpar_uuid if lpar is None else lpar.name

    def uuid_shown(self, lpar: str | None) -> str | None:
        """The UUID of an LPAR that is called by its name or UUID; None: it is not known."""
        for known in vars(self).get('lpars', []):
            if lpar is not None and lpar.upper() in (known.uuid.upper(), known.name.upper()):
                return str(known.uuid)
        return lpar if lpar is not None and uuidutils.is_uuid_like(lpar) else None

    @contextlib.contextmanager
    def naming_lpars(self) -> Iterator[None]:
        """Have our errors call LPARs by their names too, where these are known anyway."""
        try:
            yield
        except exceptions.FileIOConnectorError as err:
            self.name_lpars(err)
            raise

    def name_lpars(
            self, err: exceptions.FileIOConnectorError) -> exceptions.FileIOConnectorError:
        """Have an error call LPARs by their names too, where these are known anyway."""
        for field in ('doing', 'reason', 'remedy') if 'lpars' in vars(self) else ():
            err.kwargs[field] = _LPAR.sub(self._named, err.kwargs[field])
        return err.add_context()

    @functools.cached_property
    def lpar_ids(self) -> dict[str, int]:
        """The ids of all client LPARs, by their UUIDs in capitals."""
        return {lpar.uuid.upper(): lpar.id for lpar in self.lpars}

    def lpar_of(self, record: mappings.MappingRecord) -> str | None:
        """The UUID of a mapping's LPAR, in capitals; by its id where the mapping has no link."""
        if record.lpar_uuid is not None or record.is_orphan or record.is_wild_card:
            return record.lpar_uuid
        lpar = self._lpars_by_id.get(record.lpar_id)
        return None if lpar is None else lpar.uuid.upper()

    def lpar_name(self, record: mappings.MappingRecord) -> str:
        """What to call the LPAR of a mapping: its name, or what else is known of it."""
        if record.is_wild_card:
            return '(any)'
        lpar = self._lpars_by_uuid.get(self.lpar_of(record) or '')
        if lpar is not None:
            return lpar.name
        if record.is_vios_client:
            return '(I/O server)'
        if record.is_orphan:
            return '(gone)'
        return record.lpar_uuid or f'(id {record.lpar_id})'

    @functools.cached_property
    def _lpars_by_uuid(self) -> dict[str, LparInfo]:
        return {lpar.uuid.upper(): lpar for lpar in self.lpars}

    @functools.cached_property
    def _lpars_by_id(self) -> dict[int | None, LparInfo]:
        return {lpar.id: lpar for lpar in self.lpars}

    def _named(self, match: re.Match[str]) -> str:
        """What to say in place of the UUID or the id of an LPAR."""
        article, uuid, lpar_id = match.groups()
        lpar = (self._lpars_by_id.get(int(lpar_id)) if uuid is None
                else self._lpars_by_uuid.get(uuid.upper()))
        return match[0] if lpar is None else (
            f'{"LPAR " if article else ""}{lpar.name} ({lpar.uuid})')


@contextlib.contextmanager
def doing(what: str, **fields: Any) -> Iterator[None]:
    """Tell our errors what was being done."""
    try:
        yield
    except exceptions.FileIOConnectorError as err:
        err.add_context(doing=what, **fields)
        raise
