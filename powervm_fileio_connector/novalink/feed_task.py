# SPDX-License-Identifier: Apache-2.0
"""Edits as part of a caller's ``FeedTask``, whose feed may be older than the edits."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from oslo_log import log as logging
from taskflow import task

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import Edit
from powervm_fileio_connector.mappings import LPARIdNeeded
from powervm_fileio_connector.mappings import LPARsNeeded
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import NotConfirmed
from powervm_fileio_connector.mappings import Outcome
from powervm_fileio_connector.novalink.committer import Committer

LOG = logging.getLogger(__name__)

_reports: weakref.WeakKeyDictionary[Any, list[_FeedTaskEdit]] = weakref.WeakKeyDictionary()


def add_to_feed_task(feed_task: Any, edit: Edit, committer: Committer, timeout_s: float,
                     on_result: Callable[[Any], None] | None = None,
                     before_apply: Callable[[], None] | None = None,
                     context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
                     ) -> None:
    """Add an edit to a pypowervm ``FeedTask``, which sends it with all else that is in it.

    The feed may have been read long before the task runs. So only a change that the task has sent
    counts; all else is committed, or found to be done, after it by ``committer``.

    :param timeout_s: for what is sent after the task; the task has its own rules
    :param on_result: called with what :meth:`Committer.submit` would return, after the task
    :param before_apply: called before the edit is applied; an error keeps it from being applied
    :param context: makes a context in which our errors are raised, and the two above are called
    """
    edits = _reports.get(feed_task)
    if edits is None:
        edits = _reports[feed_task] = []
        feed_task.add_post_execute(task.FunctorTask(
            lambda: _report_all(feed_task, edits), name=f'fileio_results_{id(edits):x}'))
    ours = _FeedTaskEdit(edit, committer, timeout_s, on_result, before_apply, context)
    edits.append(ours)
    feed_task.add_functor_subtask(ours.apply)


class _FeedTaskEdit:
    def __init__(self, edit: Edit, committer: Committer, timeout_s: float,
                 on_result: Callable[[Any], None] | None,
                 before_apply: Callable[[], None] | None,
                 context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._edit = edit
        self._committer = committer
        self._timeout_s = timeout_s
        self._on_result = on_result
        self._before_apply = before_apply
        self._context = context
        self._change: Change | None = None
        self._error: Exception | None = None

    def apply(self, vios_w: Any) -> bool:
        """Apply the edit to the task's document; may be repeated."""
        if not self._concerns(vios_w):
            return False
        self._change = self._error = None
        try:
            if self._before_apply is not None:
                self._before_apply()
            self._change = self._edit.apply(MappingTable(vios_w), may_defer=False)
        except (LPARIdNeeded, LPARsNeeded):
            # The id of an LPAR may be another by now than when the feed was read.
            return False
        except exceptions.FileIOConnectorError as err:
            LOG.debug('Not applied to the feed of a task: %s', err)
            self._error = err
        return self._change is not None and self._change.outcome is Outcome.CHANGED

    def report(self, feed: list[Any]) -> None:
        """Report the result, from the answer to the task or else from NovaLink itself."""
        with self._context():
            vios_w = next(filter(self._concerns, feed), None)
            if vios_w is None:
                raise exceptions.MappingFailed(
                    reason=f'the task does not include VIOS {self._committer.vios_uuid}',
                    vios=self._committer.vios_uuid)
            result = self._result(vios_w)
            if self._on_result is not None:
                self._on_result(result)

    def _result(self, vios_w: Any) -> Any:
        change = self._change
        if change is not None and change.outcome is Outcome.CHANGED:
            # The task has changed what the committer may have kept.
            self._committer.forget()
            with contextlib.suppress(NotConfirmed, LPARIdNeeded, LPARsNeeded):
                return self._edit.result(MappingTable(vios_w), change)
        if self._error is not None and self._before_apply is not None:
            self._before_apply()
        return self._committer.submit(self._edit, Deadline(self._timeout_s))

    def _concerns(self, vios_w: Any) -> bool:
        return bool(vios_w.uuid.upper() == self._committer.vios_uuid.upper())


def _report_all(feed_task: Any, edits: list[_FeedTaskEdit]) -> None:
    """Report all results; then raise the first error, if there is any."""
    feed, errors = feed_task.feed, []
    for ours in edits:
        try:
            ours.report(feed)
        except Exception as err:  # noqa: BLE001 - one that fails keeps no other from being reported
            LOG.warning('A volume of a task failed: %s', err)
            errors.append(err)
    if errors:
        raise errors[0]
