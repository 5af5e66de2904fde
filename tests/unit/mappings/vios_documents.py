# SPDX-License-Identifier: Apache-2.0
"""VIOS documents for tests of pure edits: built mapping by mapping, or taken from recordings."""

import pathlib
import re
from xml.sax import saxutils

import pypowervm.tests
from lxml import etree
from pypowervm import adapter as pvm_adapter
from pypowervm.wrappers import virtual_io_server

from powervm_fileio_connector.mappings.splitting import MappingSplitter
from powervm_fileio_connector.mappings.table import MappingTable

UOM = 'http://www.ibm.com/xmlns/systems/power/firmware/uom/mc/2012_10/'
VIOS_UUID = '1300C76F-9814-4A4D-B1F0-5B69352A7DEA'
ONE = '11111111-0000-4000-8000-00000000AAAA'
TWO = '22222222-0000-4000-8000-00000000BBBB'
ENTRY = '''<entry xmlns="http://www.w3.org/2005/Atom"><id>{uuid}</id><title>VirtualIOServer</title>
<link rel="SELF" href="http://localhost:12080/rest/api/uom/VirtualIOServer/{uuid}"/>
<content type="application/vnd.ibm.powervm.uom+xml; type=VirtualIOServer">
<VirtualIOServer:VirtualIOServer xmlns:VirtualIOServer="{uom}" xmlns="{uom}" schemaVersion="V1_0">
<Metadata><Atom><AtomID>{uuid}</AtomID></Atom></Metadata>
<PartitionName kb="CUR" kxe="false">novalink</PartitionName>
<VirtualSCSIMappings group="ViosSCSIMapping" kb="CUD" kxe="false" schemaVersion="V1_3_0">
<Metadata><Atom/></Metadata>{mappings}</VirtualSCSIMappings>
</VirtualIOServer:VirtualIOServer></content></entry>'''


class FakeSession:
    """What building a mapping asks of a session: an address."""

    dest = 'http://localhost:12080'
    host = 'localhost'
    timeout = 10


def _element(name, value):
    if value is None:
        return ''
    return f'<{name} kb="CUR" kxe="false">{saxutils.escape(str(value))}</{name}>'


def mapping(path='/mnt/a', lpar=ONE, lpar_id=5, slot=3, server_slot=10, lua='lun1', udid=None,
            tag=None, backstore='loop', kind='File', has_link=True, has_client=True,
            remote_slot=None, name=None, label=None):
    """One mapping in the shape of the recordings."""
    link = (f'<AssociatedLogicalPartition href="http://localhost:12080/rest/api/uom/'
            f'LogicalPartition/{lpar}" rel="related"/>' if has_link else '')
    client = ('<ClientAdapter kb="CUR">' + _element('AdapterType', 'Client')
              + _element('LocalPartitionID', lpar_id) + _element('VirtualSlotNumber', slot)
              + _element('RemoteSlotNumber', server_slot)
              + '</ClientAdapter>' if has_client else '')
    server = ('<ServerAdapter kb="CUR">' + _element('AdapterType', 'Server')
              + _element('VirtualSlotNumber', server_slot)
              + _element('RemoteLogicalPartitionID', lpar_id)
              + _element('RemoteSlotNumber', remote_slot or slot)
              + _element('UniqueDeviceID', f'1eU-V1-C{server_slot}') + '</ServerAdapter>')
    storage = ''
    if path is not None:
        storage = ('<Storage kb="CUR"><VirtualDisk schemaVersion="V1_3_0">'
                   '<Metadata><Atom/></Metadata>'
                   + _element('Tag', tag) + _element('DiskCapacity', 1)
                   + _element('DiskLabel', path if label is None else label)
                   + _element('DiskName', path if name is None else name)
                   + _element('UniqueDeviceID', udid or f'udid-of-{path}')
                   + _element('VirtualDiskType', kind) + _element('BackStoreType', backstore)
                   + '</VirtualDisk></Storage>')
        storage += ('<TargetDevice><LogicalVolumeVirtualTargetDevice>'
                    + _element('LogicalUnitAddress', lua) + _element('TargetName', 'FILEIO-x')
                    + '</LogicalVolumeVirtualTargetDevice></TargetDevice>')
    return (f'<VirtualSCSIMapping schemaVersion="V1_3_0">{link}{client}{server}{storage}'
            '</VirtualSCSIMapping>')


def entry(*mappings):
    """A whole answer with these mappings."""
    return ENTRY.format(uuid=VIOS_UUID, uom=UOM, mappings='\n'.join(mappings))


def recorded(name):
    """The first VIOS of one of pypowervm's recordings that has mappings, as a whole answer."""
    text = (pathlib.Path(pypowervm.tests.__file__).parent / 'data' / name).read_text()
    for found in re.findall(r'<entry.*?</entry>', text, re.S):
        if '<VirtualSCSIMapping ' in found:
            if 'xmlns="http://www.w3.org/2005/Atom"' not in found.partition('>')[0]:
                found = found.replace('<entry', '<entry xmlns="http://www.w3.org/2005/Atom"', 1)
            return found
    raise LookupError(name)


def document(answer, form='tree'):
    """The document in an answer; ``form`` is tree, text, or split: text where it may be cut."""
    response = pvm_adapter.Response('GET', '/rest/api/uom/VirtualIOServer/x', 200, 'OK',
                                    {'etag': '1'}, body=answer.encode())
    response.adapter = pvm_adapter.Adapter(FakeSession())
    cut = MappingSplitter()
    if form != 'tree':
        cut(response)
    assert form != 'text' or cut.mappings is not None, 'the answer was not cut'
    response._unmarshal_atom()
    vios_w = virtual_io_server.VIOS.wrap(response.entry, etag='1')
    return MappingTable(vios_w, splitter=cut)


def records(doc):
    """All mappings that a document shows."""
    return [entry.record for entry in doc.entries()]


def sent(doc):
    """The mappings in what a document would send: elements."""
    root = etree.fromstring(doc.body())
    return root.findall(f'{{{UOM}}}VirtualSCSIMappings/{{{UOM}}}VirtualSCSIMapping')


def canonical(element):
    """An element's text, whatever its prefixes and indentation."""
    return etree.tostring(etree.fromstring(re.sub(
        r'>\s+<', '><', etree.tostring(element, with_tail=False).decode())), method='c14n')
