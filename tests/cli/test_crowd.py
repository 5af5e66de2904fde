# SPDX-License-Identifier: Apache-2.0
"""Who waits for whom before an edit is sent."""

import threading

import pytest

from powervm_fileio_connector.cli import crowd


@pytest.fixture
def company():
    return crowd.Company()


def waiting(company, most_s=60):
    """Begin to wait in a thread, as a member; return the event that says that it is over."""
    entered, over = threading.Event(), threading.Event()

    def member():
        with company.member():
            entered.set()
            company.wait(most_s)
            over.set()

    threading.Thread(target=member, daemon=True).start()
    assert entered.wait(10)
    return over


def test_an_edit_waits_for_those_that_are_expected(company, monkeypatch):
    monkeypatch.setattr(crowd, '_QUIET_S', 60)
    monkeypatch.setattr(crowd, '_LONG_ENOUGH_S', 60)
    with company.member():
        over = waiting(company)
        assert not over.wait(0.2)
    assert over.wait(10)


def test_all_who_wait_go_together_when_the_last_has_come(company, monkeypatch):
    monkeypatch.setattr(crowd, '_QUIET_S', 60)
    monkeypatch.setattr(crowd, '_LONG_ENOUGH_S', 60)
    with company.member():
        early = [waiting(company) for _ in range(3)]
        company.wait(60)
        assert all(over.wait(10) for over in early)


def test_one_that_does_not_come_is_not_waited_for_long(company, monkeypatch):
    monkeypatch.setattr(crowd, '_QUIET_S', 0.01)
    with company.member():
        assert waiting(company).wait(10)


def test_a_short_deadline_ends_the_wait(company, monkeypatch):
    monkeypatch.setattr(crowd, '_QUIET_S', 60)
    with company.member():
        assert waiting(company, most_s=0.01).wait(10)


def test_nobody_waits_alone(company, monkeypatch):
    monkeypatch.setattr(crowd, '_QUIET_S', 60)
    assert waiting(company).wait(10)
