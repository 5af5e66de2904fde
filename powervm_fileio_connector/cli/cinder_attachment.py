# SPDX-License-Identifier: Apache-2.0
"""Attaching, detaching and extending a volume of Cinder: its attachment and the mapping together.

Cinder comes first when a volume is attached and last when it is detached, so that Cinder has it in
use for as long as an LPAR may write to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from powervm_fileio_connector import cinder
from powervm_fileio_connector import exceptions
from powervm_fileio_connector.attachments import Attachments
from powervm_fileio_connector.cinder import errors
from powervm_fileio_connector.cli import inventory
from powervm_fileio_connector.cli.context import CommandContext
from powervm_fileio_connector.cli.errors import NotAttached
from powervm_fileio_connector.cli.errors import UsageError
from powervm_fileio_connector.connection_properties import parse
from powervm_fileio_connector.connection_properties import parse_leniently
from powervm_fileio_connector.mappings import MappingRecord
from powervm_fileio_connector.volume import DeviceInfo

_OF_NOVA = ('Its attachment is Nova\'s, and Cinder lets only Nova end it. Use "openstack server '
            'remove volume".')


class CinderAttachments:
    """Acts on one volume of Cinder at a time, on this host.

    :param say: shows the user a line that is not part of the output
    """

    def __init__(self, host: CommandContext, block_storage: cinder.BlockStorage,
                 say: Callable[[str], None]) -> None:
        self.host = host
        self._cinder = block_storage
        self._say = say
        # Before Cinder is asked for anything: without NovaLink nothing can be done.
        _ = host.partition, host.lpars
        self._attachments = Attachments(host.settings, host.prober, host.client)

    def attach(self, text: str, lpar: str, **keys: Any) -> DeviceInfo:
        """Attach a volume to an LPAR; safe to repeat, also after a crash.

        Whatever fails, the mapping is removed and Cinder's attachment deleted, unless they were
        there before.

        :param keys: ``slot`` and ``lua``, where they are asked for
        """
        lpar_uuid = self.host.lpar_uuid(lpar).upper()
        doing = f'attach volume {text} to LPAR {lpar}'
        with self._held(text, doing) as (volume, note):
            if 'error' in volume.status:
                raise errors.VolumeNotUsable(
                    f'Cannot {doing}: the volume is {volume.status} in Cinder. "openstack volume '
                    'message list" may say why; an administrator can set it back.')
            own = self._own_or_refused(volume, note, lpar_uuid, doing)
            if own is not None and own.is_finished:
                info = self._attachments.carry_out(self._plan(volume, own, lpar_uuid, keys))
                note.close()
                return info
            return self._attach(volume, own, note, lpar_uuid, keys)

    def detach(self, text: str, lpar: str | None) -> tuple[str, str | None, bool]:
        """Detach a volume; safe to repeat, also after a crash.

        :returns: the volume's id, the LPAR that had it, None where none is known, and whether it
            was attached: Cinder may have an attachment of this host that names no LPAR
        """
        doing = f'detach volume {text}'
        with self._held(text, doing) as (volume, note):
            attachments = self._cinder.attachments_of(volume)
            wanted = self.host.lpar_uuid(lpar).upper() if lpar else None
            own = [one for one in attachments if self._is_own(one, note)
                   and wanted in (None, one.lpar_uuid or note.lpar_uuid or wanted)]
            mapped = [record for record in self._mapped(volume)
                      if wanted in (None, self.host.lpar_of(record))]
            lpar_uuid = wanted or self._only_lpar(volume, own, mapped, note)
            self._refuse_foreign(volume, attachments, own, mapped, doing)
            if lpar_uuid is not None:
                self._unmap(volume, own, lpar_uuid)
            for one in own:
                self._cinder.delete(one)
            self._discard_reserved(note, attachments)
            note.close()
        was_attached = bool(own or mapped)
        return volume.id, lpar_uuid if was_attached else None, was_attached

    def extend(self, text: str, size_gb: int) -> tuple[str, str, int | None, int]:
        """Grow a volume in Cinder, and show the LPAR its new size; safe to repeat.

        :returns: the volume's id, the LPAR that has it, the bytes that the LPAR saw before (None:
            not known), and those that it sees now
        """
        doing = f'extend volume {text}'
        with self._held(text, doing) as (volume, note):
            own = [one for one in self._cinder.attachments_of(volume)
                   if one.is_finished and self._is_own(one, note)]
            if not own:
                raise NotAttached(f'Cannot {doing}: Cinder has no attachment of it to host '
                                  f'{self._cinder.host}. Attach it first.')
            mapped = self._mapped(volume)
            lpar_uuid = self._only_lpar(volume, own, mapped, note)
            if lpar_uuid is None:
                raise NotAttached(f'Cannot {doing}: no LPAR of this host has it, although Cinder '
                                  'has it attached here. "powervm-fileio cinder attach" mends '
                                  'that.')
            spec = parse(self._properties(volume, own[0]), lpar_uuid=lpar_uuid)
            if size_gb < volume.size_gb:
                raise UsageError(f'Cannot {doing}: it has {volume.size_gb} GB, and a volume never '
                                 'shrinks.')
            if size_gb > volume.size_gb:
                refusal = self._cinder.refuses_extend(volume, spec.protocol)
                if refusal is not None:
                    raise errors.CinderRefused(
                        f'Cannot {doing}: {refusal}. Nothing was changed. Detach it, extend it, '
                        'and attach it again.')
                self._cinder.extend(volume, size_gb)
            size = self._attachments.extend(spec)
            before = next((inventory.size_of(record, size) for record in mapped), None)
            return volume.id, lpar_uuid, before, size

    @contextlib.contextmanager
    def _held(self, text: str, doing: str) -> Iterator[tuple[cinder.Volume, cinder.Unfinished]]:
        """Find a volume, and have other commands for it on this host wait."""
        found = self._cinder.find(text, doing)
        with cinder.Unfinished.of(found.id) as note:
            # Another command may have changed it while this one waited.
            yield self._cinder.refreshed(found), note

    # -- attaching -------------------------------------------------------------------------

    def _own_or_refused(self, volume: cinder.Volume, note: cinder.Unfinished, lpar_uuid: str,
                        doing: str) -> cinder.Attachment | None:
        """The attachment to go on with, if there is one.

        :raises AttachedElsewhere: the volume is another host's, LPAR's or instance's
        """
        attachments = self._cinder.attachments_of(volume)
        own = next((one for one in attachments if one.id == note.attachment_id
                    or (self._is_own(one, note) and one.lpar_uuid in (None, lpar_uuid))), None)
        if own is not None and own.instance:
            raise errors.AttachedElsewhere(
                f'Cannot {doing}: the volume {own.shown}. {_OF_NOVA}')
        if own is not None and not own.is_finished and note.lpar_uuid != lpar_uuid:
            raise errors.AttachedElsewhere(
                f'Cannot {doing}: attaching it to LPAR {note.lpar_uuid} was begun and not '
                'finished. Repeat that, or end it with "powervm-fileio cinder detach".')
        if own is None:
            attachments = self._discard_reserved(note, attachments)
            if attachments and not volume.is_multiattach:
                raise errors.AttachedElsewhere(
                    f'Cannot {doing}: the volume {attachments[0].shown}. Detach it there first'
                    + ('.' if attachments[0].is_finished else ', or, if nothing is attaching it '
                       f'now, "openstack volume attachment delete {attachments[0].id}".'))
        return own

    def _attach(self, volume: cinder.Volume, own: cinder.Attachment | None,
                note: cinder.Unfinished, lpar_uuid: str, keys: dict[str, Any]) -> DeviceInfo:
        is_sent = was_mapped = False
        try:
            if own is None:
                note.write(lpar_uuid)
                own = self._cinder.reserve(volume)
                note.write(lpar_uuid, own.id)
            else:
                was_mapped, is_sent = note.was_mapped, True
            own = self._cinder.connect(own, lpar_uuid)
            plan = self._plan(volume, own, lpar_uuid, keys)
            if not is_sent and self._attachments.preview(plan).unchanged:
                was_mapped = True
                note.write(lpar_uuid, own.id, was_mapped)
            is_sent = True
            info = self._attachments.carry_out(plan)
            self._cinder.complete(own)
        except BaseException:
            self._take_back(volume, own, note, lpar_uuid, is_sent and not was_mapped)
            raise
        note.close()
        return info

    def _plan(self, volume: cinder.Volume, own: cinder.Attachment, lpar_uuid: str,
              keys: dict[str, Any]) -> Any:
        return self._attachments.plan_attach(parse(
            self._properties(volume, own, **keys), lpar_uuid=lpar_uuid,
            default_backstore=self.host.settings.backstore))

    def _take_back(self, volume: cinder.Volume, own: cinder.Attachment | None,
                   note: cinder.Unfinished, lpar_uuid: str, is_mapped: bool) -> None:
        """Undo what attaching has done; what remains is said, and the note of it kept."""
        try:
            if is_mapped and own is not None:
                self._unmap(volume, [own], lpar_uuid)
            if own is not None:
                self._cinder.delete(own, is_undo=True)
            else:
                self._discard_reserved(note, self._cinder.attachments_of(
                    volume, is_undo=True), is_undo=True)
        except (exceptions.FileIOConnectorError, errors.CinderError) as err:
            self._say(f'The attachment that was begun remains: {err} The same command goes on '
                      'from there; "powervm-fileio cinder detach" ends it.')
        else:
            note.close()

    # -- what is whose ---------------------------------------------------------------------

    def _is_own(self, one: cinder.Attachment, note: cinder.Unfinished) -> bool:
        return one.id == note.attachment_id or (one.is_finished and one.host == self._cinder.host)

    def _discard_reserved(self, note: cinder.Unfinished, attachments: list[cinder.Attachment], *,
                          is_undo: bool = False) -> list[cinder.Attachment]:
        """Delete what a crash has left between creating an attachment and noting its id.

        No connection_info was ever given out for it, so that nothing can be mapped by it. Returns
        the other attachments.
        """
        if not note.is_open or note.attachment_id is not None:
            return attachments
        left = [one for one in attachments if one.status == 'reserved' and not one.instance]
        for one in left:
            self._cinder.delete(one, is_undo=is_undo)
        return [one for one in attachments if one not in left]

    def _refuse_foreign(self, volume: cinder.Volume, attachments: list[cinder.Attachment],
                        own: list[cinder.Attachment], mapped: list[MappingRecord],
                        doing: str) -> None:
        """:raises AttachedElsewhere: there is nothing here that may be detached"""
        of_nova = [one for one in own or attachments if one.instance]
        if of_nova and not (mapped and all(one.host not in (None, self._cinder.host)
                                           for one in of_nova)):
            raise errors.AttachedElsewhere(
                f'Cannot {doing}: the volume {of_nova[0].shown}. {_OF_NOVA}')
        finished = [one for one in attachments if one.is_finished]
        if finished and not own and not mapped and not volume.is_multiattach:
            raise errors.AttachedElsewhere(
                f'Cannot {doing} from host {self._cinder.host}: the volume {finished[0].shown}. '
                'Detach it there.')

    def _mapped(self, volume: cinder.Volume) -> list[MappingRecord]:
        """The mappings that are tagged with a volume's id."""
        return [record for record in self.host.records()
                if record.kind == 'file' and (record.tag or '').lower() == volume.id
                and not record.is_orphan and not record.is_wild_card]

    def _only_lpar(self, volume: cinder.Volume, own: list[cinder.Attachment],
                   mapped: list[MappingRecord], note: cinder.Unfinished) -> str | None:
        """The LPAR that has a volume.

        :raises UsageError: there are several
        """
        lpars = {one.lpar_uuid for one in own} | {self.host.lpar_of(one) for one in mapped}
        if any(one.id == note.attachment_id for one in own):
            lpars.add(note.lpar_uuid)
        lpars.discard(None)
        if len(lpars) > 1:
            raise UsageError(f'Volume {volume.label} is attached to LPARs '
                             + ' and '.join(sorted(map(str, lpars))) + '. Say which with --lpar.')
        return next(iter(lpars), None)

    # -- the mapping -----------------------------------------------------------------------

    def _unmap(self, volume: cinder.Volume, own: list[cinder.Attachment],
               lpar_uuid: str) -> None:
        properties = self._properties(volume, own[0]) if own else {'volume_id': volume.id}
        self._attachments.carry_out(self._attachments.plan_detach(
            parse_leniently(properties, lpar_uuid=lpar_uuid)))

    def _properties(self, volume: cinder.Volume, own: cinder.Attachment,
                    **keys: Any) -> dict[str, Any]:
        """What a connector is given: Cinder's connection_info does not tell the volume's id."""
        given = {name: value for name, value in keys.items() if value is not None}
        return {**own.connection_info, 'volume_id': volume.id,
                'multiattach': volume.is_multiattach, **given}
