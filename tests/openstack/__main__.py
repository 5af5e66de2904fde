# SPDX-License-Identifier: Apache-2.0
"""Run these tests in namespaces of their own: ``python -m tests.openstack [pytest's arguments]``.

The packages are fetched first, since there is no network in there but loopback. Whatever a test
starts ends with the namespace of processes, also when pytest is killed.
"""

import os
import sys

from tests.openstack import packages

IN_NAMESPACES = 'POWERVM_FILEIO_OPENSTACK'


def main(arguments):
    pytest = [sys.executable, '-m', 'pytest', *arguments]
    try:
        os.environ[IN_NAMESPACES] = str(packages.get())
    except packages.NotAvailable as err:
        print(f'SKIPPED, no real Cinder: {err}', file=sys.stderr)
        os.environ.pop(IN_NAMESPACES, None)
        os.execv(pytest[0], pytest)
    os.execvp('unshare', ['unshare', '--mount', '--net', '--pid', '--mount-proc', '--fork',
                          '--kill-child', '--', *pytest])


if __name__ == '__main__':
    main(sys.argv[1:])
