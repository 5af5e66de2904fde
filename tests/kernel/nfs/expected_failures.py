# SPDX-License-Identifier: Apache-2.0
"""What fails today, and why. Each entry is strict: once a check of it passes, remove the entry.

Names are those of checks; ``*`` stands for any part of one.
"""

import fnmatch

_NESTING = ('directory', 'nosharecache', 'second_name_of_directory', 'second_name_nosharecache',
            'second_address_of_directory', 'pseudo_root')

REASONS = {
    'the directory in the source of an NFS mount is taken as a part of its name': [
        f'*-{way}-{check}_*' for way in _NESTING
        for check in ('repeat', 'second_lpar', 'extend_by', 'detach_by')],
    'file handles are not compared where the server has another address': [
        f'{version}-{way}-second_lpar_*' for version, way in (
            ('3', 'second_address'), ('3', 'ipv6_address'), ('4.0', 'second_address'),
            ('4.0', 'referral'))],
    'a mount on a shared superblock shows the first name of its server': [
        f'{way}-attach_by_the_second_export_*' for way in (
            '*-second_name', '4.[12]-second_address', '*-qualified_name', '*-address',
            '4.2-ipv6_address', '*-autofs_direct')],
    'softerr implies softreval, with which old attributes pass for new ones': [
        '*-server_stopped-softerr-attach_of_a_file_seen_before_*'],
    'EIO of a soft mount is called stale': [
        '*-server_stopped-soft-attach_*_says_that_the_mount_does_not_respond',
        '*-server_stopped-soft-attach_says_*'],
    'the server is not asked whether it lets the file be written': [
        '*-read_only_export-attach_*', '*-squashed_file-attach_*'],
}


def reason(name):
    """Return why a check is expected to fail, or None."""
    return next((text for text, patterns in REASONS.items()
                 if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)), None)
