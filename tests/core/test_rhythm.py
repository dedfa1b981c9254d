"""Beat goes on whatever happens to the clock."""

import pickle
from datetime import datetime, timedelta, tzinfo

import pytest

from hawkops import rhythm
from hawkops.celery import app
from hawkops.rhythm import Rhythm, steady_now


def test_rhythm__what_ran_just_now__waits_its_turn() -> None:
    due, after = Rhythm(10.0).is_due(steady_now() - timedelta(seconds=4))
    assert not due
    assert after == pytest.approx(6, abs=0.5)
    assert Rhythm(10.0).is_due(steady_now() - timedelta(seconds=11)).is_due


def test_rhythm__ran_last_in_the_future__is_due_now() -> None:
    """As a beat finds it that starts after the clock was set back."""
    assert Rhythm(10.0).is_due(steady_now() + timedelta(hours=2)) == (True, 10.0)


def test_rhythm__wall_clock_set_back_while_it_runs__changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Back(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Back":
            return cls(2020, 1, 1, tzinfo=tz)

    last = steady_now()
    monkeypatch.setattr(rhythm, "datetime", Back)
    assert timedelta() <= steady_now() - last < timedelta(seconds=5)


def test_rhythm__is_kept_in_a_file__and_read_again() -> None:
    plan = app.conf.beat_schedule["alerts"]["schedule"]
    again = pickle.loads(pickle.dumps(plan))
    assert isinstance(again, Rhythm)
    assert again.every_seconds == plan.every_seconds == 10.0
    assert again.is_due(steady_now() - timedelta(seconds=20)).is_due
