# SPDX-License-Identifier: Apache-2.0
"""Logs on the terminal, in files, in journald and in syslog: the lines that belong there."""

from __future__ import annotations

import logging
from typing import Any

from powervm_fileio_connector.cli.errors import UsageError

_PACKAGE = 'powervm_fileio_connector'
_FORMAT = '%(name)s %(levelname)s %(message)s'


_SHOWN = {0: (logging.ERROR, logging.CRITICAL), 1: (logging.WARNING, logging.CRITICAL),
          2: (logging.INFO, logging.WARNING)}
"""The least levels that the terminal shows, by verbosity: of this package, and of libraries."""


class Console(logging.Formatter):
    """What the terminal shows of the log: each warning once, and called so."""

    def __init__(self, handler: logging.Handler, verbosity: int) -> None:
        super().__init__()
        self._own, self._others = _SHOWN.get(verbosity, (logging.DEBUG, logging.DEBUG))
        self._warnings: set[str] = set()
        handler.setLevel(logging.DEBUG)
        handler.setFormatter(self)
        handler.addFilter(self._is_shown)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f'Warning: {text}' if record.levelno == logging.WARNING else text

    def _is_shown(self, record: logging.LogRecord) -> bool:
        if record.levelno < (self._own if _is_ours(record) else self._others):
            return False
        if record.levelno != logging.WARNING:
            return True
        # A list of volumes may meet the same many times.
        text = record.getMessage()
        is_new = text not in self._warnings
        self._warnings.add(text)
        return is_new


def leave_out_noise(handler: logging.Handler) -> None:
    """Let a handler take what this package logs, and only warnings of libraries."""
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or _is_ours(record))


def options() -> list[Any]:
    """Return those of oslo.log's options that say where this command logs."""
    from oslo_config import cfg

    return [cfg.BoolOpt('use_journal', default=False), cfg.BoolOpt('use_syslog', default=False),
            cfg.StrOpt('syslog_log_facility', default='LOG_USER')]


def add_handlers(config: Any, is_debug: bool) -> None:
    """Log to journald and syslog as oslo.log's options say; each is added once.

    :param config: has ``use_journal``, ``use_syslog`` and ``syslog_log_facility``
    :param is_debug: everything is logged, else no noise of libraries
    :raises UsageError: it cannot be done on this host
    """
    if not (config.use_journal or config.use_syslog):
        return
    from oslo_log import handlers

    kinds = [kind for is_used, kind in ((config.use_journal, handlers.OSJournalHandler),
                                        (config.use_syslog, handlers.OSSysLogHandler)) if is_used]
    root = logging.getLogger('')
    for kind in kinds:
        if any(type(handler) is kind for handler in root.handlers):
            continue
        try:
            handler = kind(facility=_facility(config.syslog_log_facility))
        except RuntimeError as err:
            raise UsageError('use_journal needs the Python package systemd-python, which is not '
                             'installed here.') from err
        handler.setFormatter(logging.Formatter(_FORMAT))
        if not is_debug:
            leave_out_noise(handler)
        root.addHandler(handler)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.startswith(_PACKAGE)


def _facility(name: str) -> int:
    """:raises UsageError: there is no facility of that name"""
    import syslog

    constant = f'LOG_{name.upper().removeprefix("LOG_")}'
    number = getattr(syslog, constant, None)
    if number is None:
        raise UsageError(f'syslog has no facility {name}; try LOG_USER.')
    return int(number)
