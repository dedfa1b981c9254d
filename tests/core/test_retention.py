"""How long data is kept is what is done: each kind's task runs, the page measures the oldest row, and holds stand on it."""

from datetime import timedelta
from typing import Any

import pytest

from hawkops import retention
from hawkops.accounts.models import LoginLink
from hawkops.accounts.services.holds import hold_set
from hawkops.accounts.services.signing import ENDED_KEPT, ended_prune
from hawkops.celery import app
from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor

SYSTEM = Actor.system("test")
pytestmark = pytest.mark.django_db


def links() -> retention.Measured:
    return next(one for one in retention.measured(now=clock.now()) if one.title == "Links to sign in")


def test_kind__kept_for_a_time__has_a_task_that_beat_starts() -> None:
    started = {one["task"] for one in app.conf.beat_schedule.values()}
    for one in retention.measured(now=clock.now()):
        assert (one.task in started) if one.keep is not None else one.why, one.title


def test_kind__past_its_time__is_said_until_its_task_ran(person: Any, client_as: Any) -> None:
    user, now = person("mia", Role.ADMIN), clock.now()
    LoginLink.objects.create(
        user=user, token_hash="x", created_at=now, expires_at=now - ENDED_KEPT + timedelta(hours=1)
    )
    assert links().verdict is Verdict.PASS
    LoginLink.objects.update(expires_at=now - ENDED_KEPT - timedelta(hours=3))
    late = links()
    assert late.verdict is Verdict.FAIL and late.over >= timedelta(hours=3) and late.kept_for == "30 days"
    page = client_as(user).get("/demo/platform/retention").content.decode()
    assert "1 kind of data outlived its time" in page
    assert ended_prune() == 1
    assert links().oldest_at is None


def test_hold__is_shown_to_auditors_alone(person: Any, client_as: Any) -> None:
    hold_set(user=person("mia", Role.VIEWER), reason="Case 7", actor=SYSTEM)
    assert "Case 7" in client_as(person("ada", Role.AUDITOR)).get("/demo/platform/retention").content.decode()
    assert "Case 7" not in client_as(person("vic", Role.VIEWER)).get("/demo/platform/retention").content.decode()
