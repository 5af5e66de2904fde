# SPDX-License-Identifier: Apache-2.0
"""What a detach goes by, where the volume's file was found."""

import pytest

from powervm_fileio_connector import conf
from powervm_fileio_connector import exceptions
from powervm_fileio_connector import host
from powervm_fileio_connector import plans
from powervm_fileio_connector.volume import DeviceInfo
from powervm_fileio_connector.volume import VolumeSpec
from tests.unit.mappings import vios_documents
from tests.unit.mappings.vios_documents import ONE
from tests.unit.mappings.vios_documents import mapping


@pytest.mark.parametrize('attached_as', ['/mnt/b/v', '/mnt/a/v'])
def test_a_detach_names_the_mapping_of_what_may_be_the_same_file(attached_as):
    file = host.VolumeFile('/mnt/a/v', ('/mnt/a/v',), 512, 'raw', (1, 2), False, None,
                           lookalikes=('/mnt/b/v',))
    edit = plans.removal(VolumeSpec(path='/mnt/a/v', lpar_uuid=ONE), DeviceInfo(), conf.Settings(),
                         find=lambda: file, resolve=lambda paths: paths)
    table = vios_documents.document(vios_documents.entry(mapping(attached_as, ONE)), 'tree')
    if attached_as == file.path:
        assert [entry.record.path for entry in edit.matches(table)] == [attached_as]
    else:
        with pytest.raises(exceptions.MappingFailed, match='/mnt/b/v'):
            edit.matches(table)
