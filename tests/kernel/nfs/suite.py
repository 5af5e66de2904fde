# SPDX-License-Identifier: Apache-2.0
"""All NFS cases, by name."""

from tests.kernel import cases
from tests.kernel.nfs import autofs
from tests.kernel.nfs import calls
from tests.kernel.nfs import faults
from tests.kernel.nfs import life_cycle

# They run on a machine each, which takes half of the time.
_MACHINES = (('3', '4.0', '4.1'), ('4.2',))


def parallel_groups():
    """Return lists of groups that may run at the same time as those of the other lists."""
    # Calls are counted before other groups leave an export of theirs mounted.
    peaceful = sorted([*calls.groups(), *life_cycle.groups(), *autofs.groups()],
                      key=lambda group: group.version)
    by_machine = [[group for group in peaceful if group.version in versions]
                  for versions in _MACHINES]
    return [*by_machine, faults.groups()]


def fault_groups():
    """Return lists of groups that stop their server, so that each list needs one of its own."""
    return [autofs.fault_groups(), *(
        [group for group in faults.groups_of_all() if group.version in versions]
        for versions in _MACHINES)]


def groups():
    return [group for listed in (*parallel_groups(), *fault_groups()) for group in listed]


def names():
    """Return the names of all results that the machines have to bring."""
    return [*_names(life_cycle.ALL), cases.AT_THE_END]


def by_machine():
    """Return the names of the results that each machine has to bring."""
    return [{*_names(versions), cases.AT_THE_END} for versions in _MACHINES]


def _names(versions):
    return [name for group in groups() if group.version in versions
            for name in group.named_checks()]
