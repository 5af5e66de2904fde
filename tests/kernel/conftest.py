# SPDX-License-Identifier: Apache-2.0
"""One machine for all cases that were selected."""

import pathlib

import pytest

from tests.kernel import apt
from tests.kernel import cases
from tests.kernel import machine

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
    return _outcome(request, tmp_path_factory, 'nfs')


@pytest.fixture(scope='session')
def lio(request, tmp_path_factory):
    """The results of all facts about LIO that were selected, of one machine."""
    return _outcome(request, tmp_path_factory, 'lio', 'tcmu-runner', 'qemu-utils')


def _outcome(request, tmp_path_factory, kind, *more_packages):
    directory = pathlib.Path(tmp_path_factory.mktemp('machine'))
    (directory / 'selected').write_text('\n'.join(
        item.callspec.params['name'] for item in request.session.items
        if kind in item.fixturenames and hasattr(item, 'callspec')))
    problem = None
    try:
        if more_packages:
            (directory / 'packages').write_text(str(apt.unpacked(kind, *more_packages)))
        machine.run(machine.python(f'tests.kernel.{kind}.run'), directory, _TIMEOUT_S)
    except apt.NotAvailable as reason:
        pytest.skip(f'no virtual machine here: {reason}')
    except machine.MachineFailed as err:
        problem = str(err)
    return Outcome(directory, problem)
