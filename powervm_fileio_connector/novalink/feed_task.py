# SPDX-License-Identifier: Apache-2.0
"""Edits as part of a caller's ``FeedTask``, whose feed may be older than the edits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from oslo_log import log as logging
from taskflow import task

from powervm_fileio_connector import exceptions
from powervm_fileio_connector.deadline import Deadline
from powervm_fileio_connector.deadline import TimeBudget
from powervm_fileio_connector.mappings import AddMapping
from powervm_fileio_connector.mappings import Change
from powervm_fileio_connector.mappings import Edit
from powervm_fileio_connector.mappings import MappingTable
from powervm_fileio_connector.mappings import NotConfirmed
from powervm_fileio_connector.mappings import Outcome
from powervm_fileio_connector.mappings import RemoveMapping
from powervm_fileio_connector.mappings import in_order
from powervm_fileio_connector.novalink.committer import Committer
from powervm_fileio_connector.novalink.documents import shows_mappings
from powervm_fileio_connector.novalink.partitions import LOOKUP_S

LOG = logging.getLogger(__name__)

_EDITS = '_powervm_fileio_edits'
"""The attribute of a task that holds our edits. They refer to the task by what they call, so that a
dictionary, also a weak one, would keep it, and the whole feed with it, for ever."""


def add_to_feed_task(feed_task: Any, edit: Edit, committer: Committer, timeout_s: float,
                     on_result: Callable[[Any], None] = lambda _: None,
                     before_apply: Callable[[], None] = lambda: None,
                     context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
                     after_refusal: Callable[[Edit, Any], Edit | None] = lambda *_: None) -> None:
    """Add an edit to a pypowervm ``FeedTask``, which sends it with all else that is in it.

    The feed may have been read long before the task runs. So only a change that the task has sent
    counts; all else is committed, or found to be done, after it by ``committer``.

    :param timeout_s: for what is sent after the task; the task has its own rules
    :param on_result: called with what :meth:`Committer.submit` would return, after the task
    :param before_apply: called before the edit is applied; an error keeps it from being applied
    :param context: makes a context in which our errors are raised, and the two above are called
    :param after_refusal: called with the edit and the result of what was sent after the task;
        returns the edit to be sent instead, if there is one
    """
    edits: list[_FeedTaskEdit] | None = vars(feed_task).get(_EDITS)
    if edits is None:
        edits = []
        setattr(feed_task, _EDITS, edits)
        feed_task.add_post_execute(task.FunctorTask(
            lambda: _report_all(feed_task, edits), name=f'fileio_results_{id(edits):x}'))
        feed_task.add_functor_subtask(lambda vios_w: _apply_all(vios_w, edits))
    edits.append(_FeedTaskEdit(edit, committer, timeout_s, on_result, before_apply, context,
                               after_refusal))


@dataclasses.dataclass(eq=False)
class _FeedTaskEdit:
    """One edit of a task.

    :ivar outcome: its result or its error, after the task
    :ivar is_open: the task did not tell the outcome
    :ivar sent_count: how many mappings the task's document has, with all of our edits in it
    """

    edit: Edit
    committer: Committer
    timeout_s: float
    on_result: Callable[[Any], None]
    before_apply: Callable[[], None]
    context: Callable[[], AbstractContextManager[Any]]
    after_refusal: Callable[[Edit, Any], Edit | None]
    outcome: Any = None
    is_open: bool = True
    sent_count: int = 0
    _change: Change | None = None
    _was_changed: bool = False

    def concerns(self, vios_w: Any) -> bool:
        """Whether it is an edit of this VIOS."""
        return bool(vios_w.uuid.upper() == self.committer.vios_uuid.upper())

    def apply(self, vios_w: Any, lookups: TimeBudget) -> bool:
        """Apply the edit to the task's document of its VIOS; may be repeated.

        :param lookups: how long the task waits for what is asked about LPARs
        """
        self._change = None
        # pypowervm would send one without etag all the same, over what others have changed, and
        # one that was read without the mappings, in place of all of them.
        if vios_w.etag is None or not shows_mappings(vios_w.element):
            return False
        try:
            self.before_apply()
            with lookups.spending(self.timeout_s) as deadline:
                change = self.committer.apply(self.edit, MappingTable(vios_w), deadline)
        except exceptions.FileIOConnectorError as err:
            LOG.debug('Not applied to the feed of a task: %s', err)
            return False
        if change.outcome is not Outcome.CHANGED:
            return False
        self._change, self._was_changed = change, True
        # The task may fail without a word to us, and the server still make the change.
        self.committer.turn.note_unshown(self.edit.keys)
        return True

    def settle_from(self, feed: list[Any]) -> None:
        """Take the outcome from the answer to the task, if that tells it."""
        try:
            vios_w = next(filter(self.concerns, feed), None)
            if vios_w is None and isinstance(self.edit, AddMapping):
                self._settle(exceptions.MappingFailed(
                    reason=f'the task does not include VIOS {self.committer.vios_uuid}, the '
                           'management partition, as where that is not running',
                    remedy='Start it, then retry.', vios=self.committer.vios_uuid))
            elif vios_w is None:
                # There may be nothing to remove, which only the committer can tell.
                return
            elif self._change is not None:
                self.committer.turn.forget_unshown(self.edit.keys)
                self._settle(self._shown(vios_w, self._change))
            else:
                self.before_apply()
        except exceptions.FileIOConnectorError as err:
            self._settle(err)

    def report(self) -> None:
        """Tell the caller the result.

        :raises FileIOConnectorError: its error, or what the context makes of that
        """
        with self.context():
            if isinstance(self.outcome, Exception):
                raise self.outcome
            if self._was_changed and isinstance(self.edit, AddMapping):
                # An earlier run of the task may have sent it, and lost the answer.
                self.outcome = dataclasses.replace(self.outcome, is_new=True)
            self.on_result(self.outcome)

    def _settle(self, outcome: Any) -> None:
        self.outcome, self.is_open = outcome, False

    def _shown(self, vios_w: Any, change: Change) -> Any:
        """The result of what the task sent, by its answer or else by a fresh read.

        :raises MappingFailed: neither shows it
        """
        # The task has changed what the committer may have kept.
        self.committer.forget()
        deadline = Deadline(self.timeout_s)
        answer = MappingTable(vios_w)
        with contextlib.suppress(NotConfirmed):
            # One that shows fewer than were sent may leave out those of others, or ours.
            if answer.count() < self.sent_count:
                raise NotConfirmed
            result = self.committer.result(self.edit, answer, change, deadline)
            if not isinstance(self.edit, AddMapping) or result.lua is not None:
                return result
        table = self.committer.read_table(deadline)
        try:
            return self.committer.result(self.edit, table, change, deadline)
        except NotConfirmed as err:
            is_made = isinstance(self.edit, AddMapping) and bool(self.edit.made(table, change))
            others = [entry.record.client for entry in answer.of_paths(self.edit.paths)
                      if change.is_alone and entry.record.slot is not None]
            raise self._unconfirmed(err, is_made, others, deadline) from err

    def _unconfirmed(self, err: NotConfirmed, is_made: bool, others: list[str],
                     deadline: Deadline) -> exceptions.FileIOConnectorError:
        reason, vios = f'NovaLink accepted the change, but {err}', self.committer.vios_uuid
        otherwise = err.__cause__
        if not is_made and not isinstance(otherwise, exceptions.FileIOConnectorError):
            self.committer.turn.note_unshown(self.edit.keys)
            # Nothing but the task has mapped the file, in the document that it sent.
            end = (f'it was made for {others[0]}, so detach it there' if others
                   else 'it may yet appear and remain')
            return exceptions.MappingFailed(reason=f'{reason}; {end}', vios=vios)
        kind = (type(otherwise) if isinstance(otherwise, exceptions.FileIOConnectorError)
                else exceptions.MappingFailed)
        error = kind(reason=reason, vios=vios)
        try:
            self.committer.submit(
                RemoveMapping(self.edit.lpar_uuid, paths=self.edit.paths), deadline)
        except exceptions.FileIOConnectorError as remains:
            error.note_left_mapped(self.edit.paths[0], remains)
        return error


def _apply_all(vios_w: Any, edits: list[_FeedTaskEdit]) -> bool:
    """Apply the edits of a VIOS to its document, those that name a slot before those that do not.

    pypowervm calls this for all VIOS of the feed at once, each in a thread.
    """
    edits = [ours for ours in edits if ours.concerns(vios_w)]
    open_choices = {ours.edit.open_choices for ours in edits if isinstance(ours.edit, AddMapping)}
    # Else as they came, since a removal may take away the bus that those before it join.
    ordered = in_order(edits) if len(open_choices) > 1 else edits
    lookups = TimeBudget(LOOKUP_S)
    changed = [ours for ours in ordered if ours.apply(vios_w, lookups)]
    if changed:
        sent_count = MappingTable(vios_w).count()
        for ours in changed:
            ours.sent_count = sent_count
    return bool(changed)


def _report_all(feed_task: Any, edits: list[_FeedTaskEdit]) -> None:
    """Report all results; then raise the first error, if there is any."""
    # The feed itself keeps what was sent, in place of an answer with the same etag.
    feed = [one.wrapper for one in feed_task.wrapper_tasks.values()]
    for ours in edits:
        ours.settle_from(feed)
    _commit([ours for ours in edits if ours.is_open])
    errors = []
    for ours in edits:
        try:
            ours.report()
        except Exception as err:  # noqa: BLE001 - one that fails keeps no other from being reported
            LOG.warning('A volume of a task failed: %s', err)
            errors.append(err)
    if errors:
        raise errors[0]


def _commit(open_ones: list[_FeedTaskEdit]) -> None:
    """Commit together what the task has not carried out, as far as it can be told."""
    by_committer: dict[str, list[_FeedTaskEdit]] = {}
    for ours in open_ones:
        by_committer.setdefault(ours.committer.vios_uuid, []).append(ours)
    for together in by_committer.values():
        outcomes = together[0].committer.submit_all(
            [ours.edit for ours in together], Deadline(max(ours.timeout_s for ours in together)))
        again = []
        for ours, outcome in zip(together, outcomes, strict=True):
            ours.outcome = outcome
            try:
                edit = ours.after_refusal(ours.edit, outcome)
            except exceptions.FileIOConnectorError as err:
                ours.outcome = err
                continue
            if edit is not None:
                ours.edit = edit
                again.append(ours)
        _commit(again)
