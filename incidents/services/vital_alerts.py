"""Alerts on HawkOps' own life, told by the second path: each once when it begins and once when it is over.

Short ones are never told, and one that comes and goes stays one alert until it has been well for a while.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from hawkops.core import clock
from hawkops.history.services import change
from incidents.domain.message import Action, Link, Message
from incidents.models import VitalAlert
from incidents.services.second_path import ACTOR, send
from monitoring.domain.alerting import OWNER
from monitoring.domain.criteria import Severity

TELL_AFTER = timedelta(seconds=60)
WELL_FOR = timedelta(minutes=2)


@dataclass(frozen=True)
class Sign:
    """A sign of life as it reads now."""

    key: str
    title: str
    sentence: str
    advice: str
    failing: bool


def vitals_follow(signs: Sequence[Sign], *, now: datetime | None = None) -> list[str]:
    """Compare what reads now with what stood, tell what is due, and return the keys of what was told."""
    now = now or clock.now()
    standing = {row.key: row for row in VitalAlert.objects.all()}
    told: list[str] = []
    for sign in signs:
        row = standing.pop(sign.key, None)
        if sign.failing:
            told += _failing(row, sign, now)
        elif row is not None:
            told += _well(row, sign.sentence, now)
    # what is read no more, a host that is gone say, can't fail
    for row in standing.values():
        told += _well(row, "It is not read any more.", now)
    return told


def _failing(row: VitalAlert | None, sign: Sign, now: datetime) -> Iterable[str]:
    row = row or VitalAlert(key=sign.key, failing_since=now)
    row.title, row.sentence, row.well_since = sign.title, sign.sentence, None
    if row.told_at is not None or now - row.failing_since < TELL_AFTER:
        row.save()
        return []
    message = _message(row, Action.TRIGGER, (sign.sentence, f"What to do: {sign.advice}"), now)
    answers = send(message, settings.SECOND_PATH_EMAIL)
    row.told_at = now
    with change(actor=ACTOR, reason=sign.sentence[:500]) as this:
        row.save()
        this.record("vital.failed", subject=f"vital:{row.key}", after={"title": row.title, "told": _told(answers)})
    return [row.key]


def _well(row: VitalAlert, sentence: str, now: datetime) -> Iterable[str]:
    if row.well_since is None:
        row.well_since = now
        row.save()
    if row.told_at is not None and now - row.well_since < WELL_FOR:
        return []
    if row.told_at is None:
        row.delete()
        return []
    lasted = row.well_since - row.failing_since
    words = f"It had been so for {int(lasted.total_seconds())} s."
    answers = send(_message(row, Action.RESOLVE, (sentence, words), now), settings.SECOND_PATH_EMAIL)
    with change(actor=ACTOR, reason=sentence[:500]) as this:
        this.record(
            "vital.recovered",
            subject=f"vital:{row.key}",
            before={"failing_since": row.failing_since.isoformat()},
            after={"title": row.title, "told": _told(answers)},
        )
        row.delete()
    return [row.key]


def _told(answers: Iterable[tuple[str, object]]) -> dict[str, str]:
    return {way: str(getattr(answer, "outcome", "")) for way, answer in answers}


def _message(row: VitalAlert, action: Action, sentences: tuple[str, ...], now: datetime) -> Message:
    over = action is Action.RESOLVE
    return Message(
        title=f"HawkOps itself: {row.title} {'is well again' if over else 'is not as it should be'}"[:200],
        severity=Severity.WARNING,
        environment=OWNER,
        action=action,
        thread=f"hawkops:vital:{row.key}",
        verb="vital.recovered" if over else "vital.failed",
        at=now,
        sentences=sentences,
        links=(Link("Platform", f"{settings.CONSOLE_URL}/{OWNER}/platform"),),
    )
