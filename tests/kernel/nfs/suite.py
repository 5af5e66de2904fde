# SPDX-License-Identifier: Apache-2.0
"""All NFS cases, by name."""

from tests.kernel import cases
from tests.kernel.nfs import autofs
from tests.kernel.nfs import calls
from tests.kernel.nfs import faults
from tests.kernel.nfs import life_cycle


def parallel_groups():
    """Return lists of groups that may run at the same time as those of the other lists."""
    peaceful = [*life_cycle.groups(), *calls.groups(), *autofs.groups()]
    by_version = [[group for group in peaceful if group.version in versions]
                  for versions in (('3', '4.0'), ('4.1', '4.2'))]
    return [*by_version, faults.groups()]


def fault_groups():
    """Return the groups that stop the server for all others."""
    return sorted([*autofs.fault_groups(), *faults.groups_of_all()],
                  key=lambda group: group.version)


def names():
    """Return the names of all results that the machine has to bring."""
    return [*(name for groups in (*parallel_groups(), fault_groups()) for group in groups
              for name in group.named_checks()), cases.AT_THE_END]
