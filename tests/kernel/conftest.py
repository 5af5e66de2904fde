# SPDX-License-Identifier: Apache-2.0
"""One machine for all cases that were selected."""

import pathlib

import pytest

from tests.kernel import cases
from tests.kernel import machine
from tests.kernel import packages

_TIMEOUT_S = 1500


class Outcome:
    """What the machine left behind."""

    def __init__(self, directory, problem):
        self.directory = directory
        self._problem = problem
        self._results = cases.read(directory)

    def raise_failure(self, name):
        """Fail as the check of this name did, or because the machine has no result for it."""
        if name not in self._results:
            pytest.fail(f'the machine has no result of {name}: {self._problem or "not run"}')
        self._results[name].raise_failure()


@pytest.fixture(scope='session')
def nfs(request, tmp_path_factory):
    """The results of all NFS cases that were selected, of one machine."""
    directory = pathlib.Path(tmp_path_factory.mktemp('machine'))
    (directory / 'selected').write_text('\n'.join(
        item.callspec.params['name'] for item in request.session.items
        if 'nfs' in item.fixturenames and hasattr(item, 'callspec')))
    problem = None
    try:
        machine.run(machine.python('tests.kernel.nfs.run'), directory, _TIMEOUT_S)
    except packages.NotAvailable as reason:
        pytest.skip(f'no virtual machine here: {reason}')
    except machine.MachineFailed as err:
        problem = str(err)
    return Outcome(directory, problem)
