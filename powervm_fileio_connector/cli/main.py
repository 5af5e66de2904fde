# SPDX-License-Identifier: Apache-2.0
"""The entry point: what may go wrong before a command runs, and after it."""

from __future__ import annotations

import io
import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``powervm-fileio``.

    :returns: see :class:`powervm_fileio_connector.cli.errors.ExitCode`
    """
    try:
        _mend_streams()
        # Else eventlet, which os-brick and pypowervm import, imports all of dnspython as well.
        os.environ.setdefault('EVENTLET_NO_GREENDNS', 'yes')
        # Imported here: Ctrl-C may come while it is.
        from powervm_fileio_connector.cli import app

        if '_ARGCOMPLETE' in os.environ:
            from powervm_fileio_connector.cli import completion

            completion.complete(app.FileIOApp())
        try:
            code = int(app.FileIOApp().run(sys.argv[1:] if argv is None else argv))
        except SystemExit as end:
            code = int(end.code or 0)       # of --help and --version, or argparse's of an error
        if code == 0:       # else what went wrong has been said
            if sys.stdout.closed:       # by the pager of help, whose reader has gone
                raise BrokenPipeError
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        sys.stderr.write('Interrupted.\n')
        return 130
    except BrokenPipeError:
        return 141      # as a shell shows SIGPIPE
    except OSError as err:
        sys.stderr.write(f'The result cannot be written: {err.strerror}.\n')
        return 1
    finally:
        _flush()


def _mend_streams() -> None:
    """Make all streams usable, whatever the locale is and whichever the caller has closed."""
    for name in ('stdin', 'stdout', 'stderr'):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'r+', encoding='utf-8'))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def _flush() -> None:
    """Write what is left; a reader that has gone needs nothing, and a full disk was reported."""
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == '__main__':
    sys.exit(main())
