# SPDX-License-Identifier: Apache-2.0
"""Names, UUIDs, serial numbers, addresses and paths of a host, replaced by made-up ones.

What is kept is listed here, and all else is replaced; the same by the same, so that documents still
refer to each other.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any
from urllib import parse

from lxml import etree

from powervm_fileio_connector.cli.qualification.lines import Finding
from powervm_fileio_connector.cli.qualification.lines import Line
from powervm_fileio_connector.cli.qualification.site import Exchange
from powervm_fileio_connector.volume import UUID

# Texts that the schema fixes; see pypowervm's wrappers.
_KEPT = frozenset({
    'AdapterType', 'BackStoreType', 'EmulateModel', 'LogicalUnitAddress', 'LocalPartitionID',
    'PartitionState', 'PartitionType', 'ResourceMonitoringControlState', 'VirtualDiskType',
    'GroupName', 'Status', 'State', 'OperationName', 'JobID', 'ParameterName', 'HTTPStatus',
    'CapacityType', 'KeylockPosition', 'OperatingSystemType', 'SharingMode', 'VirtualDiskCapacity'})
_KEPT_ATTRIBUTES = frozenset({'kb', 'kxe', 'ksv', 'schemaVersion', 'rel', 'type', 'group'})
_KEPT_KEYS = frozenset({'PartitionState', 'PartitionType', 'RMCState', 'State'})
# Texts that identify a host, even where they look like a number.
_REPLACED = frozenset({'SerialNumber', 'Model', 'MachineType', 'PartitionName', 'SystemName',
                       'DiskName', 'DiskLabel', 'VolumeName', 'MediaName', 'Tag', 'TargetName'})
_PLAIN = re.compile(r'(?:true|false|None|-?[0-9]{1,6}(?:\.[0-9]+)?|lun[0-9]+|0x[0-9a-fA-F]{16}|'
                    r'V[0-9_]+)\Z')


def report_of(findings: list[tuple[Line, Finding]], exchanges: list[Exchange],
              documents: list[bytes], directory: str) -> dict[str, Any]:
    """Return the report of a qualification as plain data, without what identifies the host.

    :param documents: what a simulator can start from: the feeds of VIOS, LPARs and the machine
    :param directory: of the files that were made
    """
    redaction = Redaction(directory)
    shown = [redaction.xml(document) for document in documents]
    sent = [{'method': one.method, 'path': redaction.path(one.path), 'status': one.status,
             'seconds': round(one.took_s, 3), 'request': redaction.body(one.request),
             'answer': redaction.body(one.answer)} for one in exchanges]
    return {
        'format': 'powervm-fileio-qualification-1', 'date': time.strftime('%Y-%m-%d'),
        'lines': [{'key': line.key, 'statement': line.statement, 'verdict': found.verdict.value,
                   'seen': found.error or redaction.seen(found.seen)} for line, found in findings],
        'documents': shown, 'exchanges': sent}


class Redaction:
    """Replaces what identifies a host, the same by the same.

    :param directory: of the files whose mappings are kept where :meth:`body` leaves out others
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._replacements: dict[str, str] = {}
        self._uuids: dict[str, str] = {}

    def xml(self, text: bytes, with_all_mappings: bool = True) -> str:
        """Return a document with all but its structure and the texts of the schema replaced."""
        root = etree.fromstring(text, etree.XMLParser(
            resolve_entities=False, remove_comments=True, remove_pis=True))
        if not with_all_mappings:
            self._leave_out_others(root)
        for element in root.iter():
            name = etree.QName(element).localname
            if element.text and element.text.strip():
                element.text = self._text(name, element.text)
            element.tail = None
            for key, value in element.attrib.items():
                if etree.QName(key).localname not in _KEPT_ATTRIBUTES:
                    element.set(key, self._address(value) if '/' in value else self.text(value))
        return etree.tostring(root, encoding='unicode')

    def json(self, text: bytes) -> Any:
        """Return JSON data with its names and values replaced."""
        return self._value(json.loads(text))

    def body(self, text: bytes) -> Any:
        """Return a body of any form; of its mappings only those of the files that were made."""
        if not text.strip():
            return ''
        try:
            return self.xml(text, with_all_mappings=False)
        except etree.XMLSyntaxError:
            pass
        try:
            return self.json(text)
        except ValueError:
            return self.text(text.decode(errors='replace'))

    def path(self, path: str) -> str:
        """Return a request's path with the UUIDs in it replaced, and what it searches for."""
        head, search, _ = path.partition('/search/')
        return UUID.sub(self._uuid, head) + (f'{search}(...)' if search else '')

    def seen(self, text: str) -> str:
        """Return a sentence of ours without the paths and UUIDs in it."""
        text = UUID.sub(self._uuid, text)
        return re.sub(r'/[^\s,;:]*', '/...', text)

    def text(self, text: str, is_plain_kept: bool = True) -> str:
        """Return the replacement of a text."""
        text = text.strip()
        if is_plain_kept and _PLAIN.match(text):
            return text
        if UUID.fullmatch(text):
            return self._uuid(UUID.fullmatch(text))
        if text not in self._replacements:
            number = len(self._replacements) + 1
            self._replacements[text] = (f'/redacted/file-{number}' if text.startswith('/')
                                        else f'text-{number}')
        return self._replacements[text]

    def _leave_out_others(self, root: Any) -> None:
        for mapping in list(root.iter('{*}VirtualSCSIMapping')):
            if self._directory not in ''.join(mapping.itertext()):
                mapping.getparent().remove(mapping)

    def _text(self, name: str, text: str) -> str:
        return text.strip() if name in _KEPT else self.text(text, name not in _REPLACED)

    def _uuid(self, found: Any) -> str:
        text = found[0]
        made_up = f'0000{len(self._uuids) + 1:04X}-0000-4000-8000-00000000000A'
        known = self._uuids.setdefault(text.upper(), made_up)
        return known if text == text.upper() else known.lower()

    def _address(self, address: str) -> str:
        parts = parse.urlsplit(address)
        if not parts.scheme or not parts.netloc:
            return self.text(address)
        path = UUID.sub(self._uuid, parts.path)
        return parse.urlunsplit(('http', 'novalink', path, '', ''))

    def _value(self, value: Any, key: str = '') -> Any:
        if isinstance(value, dict):
            return {name: self._value(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._value(inner, key) for inner in value]
        if not isinstance(value, str) or key in _KEPT_KEYS:
            return value
        return self.text(value, key not in _REPLACED)
