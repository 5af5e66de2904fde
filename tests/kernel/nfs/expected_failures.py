# SPDX-License-Identifier: Apache-2.0
"""What fails today, and why. Each entry is strict: once a check of it passes, remove the entry.

Names are those of checks; ``*`` stands for any part of one.
"""

import fnmatch

REASONS = {
    'Linux has no file handles for NFS 4.0, so nothing shows that two addresses are one server': [
        '4.0-second_address-second_lpar_*', '4.0-referral-second_lpar_*'],
}


def reason(name):
    """Return why a check is expected to fail, or None."""
    return next((text for text, patterns in REASONS.items()
                 if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)), None)
