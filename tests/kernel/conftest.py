# SPDX-License-Identifier: Apache-2.0
"""The machines that run the cases which were selected."""

import pytest

from tests.kernel import apt
from tests.kernel import cases
from tests.kernel import machine
from tests.kernel.lio import facts as lio_facts
from tests.kernel.nfs import suite
from tests.kernel.smb import facts as smb_facts

_TIMEOUT_S = 1500


class Outcome:
    """What the machines left behind.

    :ivar directories: one for each machine
    """

    def __init__(self, directories, problem):
        self.directories = directories
        self._problem = problem
        self._results = cases.read(directories)

    def raise_failure(self, name):
        """Fail as the check of this name did, or because no machine has a result for it."""
        if name not in self._results:
            pytest.fail(f'no machine has a result of {name}: {self._problem or "not run"}')
        self._results[name].raise_failure()


@pytest.fixture(scope='session')
def nfs(request, tmp_path_factory):
    """The results of all NFS cases that were selected, of two machines that share them."""
    return _outcome(request, tmp_path_factory, 'nfs', suite.by_machine())


@pytest.fixture(scope='session')
def lio(request, tmp_path_factory):
    """The results of all facts about LIO that were selected, of one machine."""
    names = {fact.__name__ for fact in lio_facts.FACTS}
    return _outcome(request, tmp_path_factory, 'lio', [names], 'tcmu-runner', 'qemu-utils')


@pytest.fixture(scope='session')
def smb(request, tmp_path_factory):
    """The results of all SMB cases that were selected, of one machine."""
    names = {fact.__name__ for fact in smb_facts.FACTS}
    return _outcome(request, tmp_path_factory, 'smb', [names], 'samba', 'cifs-utils')


def _outcome(request, tmp_path_factory, kind, by_machine, *more_packages):
    selected = {item.callspec.params['name'] for item in request.session.items
                if kind in item.fixturenames and hasattr(item, 'callspec')}
    directories = []
    problem = None
    try:
        more = apt.unpacked(kind, *more_packages) if more_packages else ''
        for names in [*filter(None, map(selected.intersection, by_machine))] or [()]:
            directories.append(tmp_path_factory.mktemp('machine'))
            (directories[-1] / 'selected').write_text('\n'.join(names))
        machine.run_each(machine.python(f'tests.kernel.{kind}.run'), directories, _TIMEOUT_S, more)
    except apt.NotAvailable as reason:
        pytest.skip(f'no virtual machine here: {reason}')
    except machine.MachineFailed as err:
        problem = str(err)
    return Outcome(directories, problem)
