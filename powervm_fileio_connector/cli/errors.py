# SPDX-License-Identifier: Apache-2.0
"""Exit codes: the one place where an error becomes a number; and warnings, which have none."""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Iterator

LOG = logging.getLogger('powervm_fileio_connector.cli')


class ExitCode(enum.IntEnum):
    """What the number that ``powervm-fileio`` ends with means."""

    OK = 0
    #: An error that nobody foresaw (``--debug`` shows where), or the result could not be written.
    UNEXPECTED = 1
    #: The command line, or a file named on it, cannot be understood.
    USAGE = 2
    #: The volume is described wrongly, or is of a kind that NovaLink cannot serve.
    BAD_VOLUME = 3
    #: The share is not mounted, hung or stale.
    MOUNT = 4
    #: The file is missing, or not one that may be attached.
    FILE = 5
    #: NovaLink cannot be reached, or is no I/O server.
    NOVALINK = 6
    #: The LPAR is unknown, or cannot change its I/O now.
    LPAR = 7
    #: The file is in use by another LPAR, or the slot or LUA is taken.
    CONFLICT = 8
    #: NovaLink or Cinder refused the change.
    REFUSED = 9
    #: NovaLink stayed busy; simply try again.
    BUSY = 10
    #: Of several volumes, some failed; each is named.
    PARTIAL = 11
    #: A check or an audit found something wrong.
    FINDINGS = 12
    #: No LPAR has the volume that was asked for.
    NOT_ATTACHED = 13
    #: Keystone or Cinder cannot be reached, refuses the credentials, or does not answer in time.
    CINDER = 14
    #: Ctrl-C; what was done and what was not is said.
    INTERRUPTED = 130


_BY_ERROR = {
    'InvalidConnectionProperties': ExitCode.BAD_VOLUME,
    'UnsupportedVolume': ExitCode.BAD_VOLUME,
    'ShareNotMounted': ExitCode.MOUNT,
    'MountNotResponding': ExitCode.MOUNT,
    'StaleMount': ExitCode.MOUNT,
    'VolumeFileNotFound': ExitCode.FILE,
    'UnsafeVolumePath': ExitCode.FILE,
    'UnsafeVolumeFormat': ExitCode.FILE,
    'NovaLinkUnavailable': ExitCode.NOVALINK,
    'NovaLinkNotIOServer': ExitCode.NOVALINK,
    'NotOnNovaLink': ExitCode.NOVALINK,
    'LPARNotFound': ExitCode.LPAR,
    'LPARNotReady': ExitCode.LPAR,
    'VolumeInUse': ExitCode.CONFLICT,
    'SlotOrLUAConflict': ExitCode.CONFLICT,
    'MappingFailed': ExitCode.REFUSED,
    'ExtendFailed': ExitCode.REFUSED,
    'NovaLinkBusy': ExitCode.BUSY,
    'CloudNotUsable': ExitCode.USAGE,
    'AmbiguousVolume': ExitCode.USAGE,
    'VolumeNotFound': ExitCode.BAD_VOLUME,
    'VolumeNotUsable': ExitCode.BAD_VOLUME,
    'AttachedElsewhere': ExitCode.CONFLICT,
    'CinderRefused': ExitCode.REFUSED,
    'ResourceGone': ExitCode.REFUSED,
    'LogonRefused': ExitCode.CINDER,
    'CinderUnavailable': ExitCode.CINDER,
    'UsageError': ExitCode.USAGE,
    'NotAttached': ExitCode.NOT_ATTACHED,
    'KeyboardInterrupt': ExitCode.INTERRUPTED,
}


class UsageError(Exception):
    """The command line, or a file named on it, cannot be understood; the text says why."""


class NotAttached(Exception):
    """No LPAR has the volume that was asked for."""


class OutputLost(Exception):
    """The result could not be written; the text says what was done."""


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """:raises OutputLost: what the block writes cannot be written; its reader is there"""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        raise OutputLost(f'The result cannot be written: {err.strerror}.') from err


def exit_codes_text() -> str:
    """Return all exit codes in a few words each, for the end of every help."""
    return 'exit codes: ' + ', '.join(
        f'{code.value} {code.name.lower().replace("_", " ")}' for code in ExitCode) + '.'


def warn(text: str) -> None:
    """Tell the user something that does not stop the command."""
    LOG.warning('%s', text)


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for an error; by name, so that os-brick need not be imported for it."""
    names = [cls.__name__ for cls in type(error).__mro__]
    return next((_BY_ERROR[name] for name in names if name in _BY_ERROR), ExitCode.UNEXPECTED)
