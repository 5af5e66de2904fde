# SPDX-License-Identifier: Apache-2.0
"""SMB shares of a real Samba, mounted by the kernel of a virtual machine."""

import pytest

from tests.kernel.smb import facts

pytestmark = pytest.mark.smb


@pytest.mark.parametrize('name', [fact.__name__ for fact in facts.FACTS])
def test_smb(name, smb):
    smb.raise_failure(name)
