"""Alerts from elsewhere: Alertmanager's webhooks, however often and from however many of its instances they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from hawkops.core import clock
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from monitoring.domain import alerting
from monitoring.domain.alerting import Kind, Source, State
from monitoring.domain.criteria import Severity
from monitoring.models import Alert, Silence
from monitoring.selectors.alerts import silences
from monitoring.services.episodes import Moves, lock, moves, state

ALERTS_MOST = 1_000
LABELS_MOST = 50
SEVERITIES = {"critical": Severity.CRITICAL, "page": Severity.CRITICAL, "warning": Severity.WARNING}


@dataclass(frozen=True)
class _Told:
    """One alert as Alertmanager tells it, cut and cleaned."""

    key: str
    firing: bool
    title: str
    severity: str
    group: str
    sentence: str
    labels: dict[str, str]
    links: dict[str, str]
    began_at: datetime | None


def alertmanager_take(*, environment: str, payload: Any, actor: Actor) -> int:
    """Take a webhook of Alertmanager (version 4) and return how many alerts moved. Raises InvalidInput."""
    told = sorted(_told(payload), key=lambda one: one.key)
    now = clock.now()
    with moves(actor=actor, environment=environment) as made:
        # a second instance tells the same at the same time
        lock(f"alertmanager:{environment}", wait=True)
        ours = Alert.objects.filter(environment=environment, source=Source.ALERTMANAGER.value)
        rows = ours.filter(resolved_at=None, key__in=[one.key for one in told])
        opened = {one.key: one for one in rows.select_for_update(no_key=True).order_by("pk")}
        closed = dict(ours.exclude(closed_by="").order_by("resolved_at").values_list("key", "resolved_at"))
        in_force = silences(environment, now=now)
        for one in told:
            alert = opened.pop(one.key, None)
            if alert is not None:
                if kept := _again(made, alert, one, now):
                    opened[one.key] = kept
                continue
            ended = closed.get(one.key)
            if one.firing and not (ended and one.began_at and one.began_at <= ended):
                opened[one.key] = _fire(made, environment, one, in_force, now)
    return made.count


def _again(made: Moves, alert: Alert, one: _Told, now: datetime) -> Alert | None:
    """Take over what is told of an alert that stands; None when it stands no longer."""
    before = state(alert)
    if not one.firing:
        alert.state, alert.resolved_at = State.RESOLVED.value, now
        alert.save()
        made.note(alert, "alert.resolved", before=before, reason=one.sentence)
        return None
    differs = (alert.title, alert.severity, alert.labels) != (one.title, one.severity, one.labels)
    labels = alert.labels
    _fill(alert, one, now)
    alert.save()
    if differs:
        made.note(
            alert,
            "alert.updated",
            before={**before, "labels": labels},
            after={"labels": alert.labels},
            reason=one.sentence,
        )
    return alert


def _fire(made: Moves, environment: str, one: _Told, in_force: Sequence[Silence], now: datetime) -> Alert:
    alert = Alert(
        environment=environment,
        source=Source.ALERTMANAGER.value,
        key=one.key,
        kind=Kind.BREACH.value,
        state=State.FIRING.value,
        since_at=now,
        data_at=one.began_at,
        fired_at=now,
    )
    _fill(alert, one, now)
    alert.silence = next((silence for silence in in_force if silence.hides(alert)), None)
    alert.save()
    made.note(alert, "alert.fired", before=None, after={"labels": one.labels}, reason=one.sentence)
    return alert


def _fill(alert: Alert, one: _Told, now: datetime) -> None:
    alert.title, alert.severity, alert.group, alert.sentence = one.title, one.severity, one.group, one.sentence
    alert.labels, alert.links, alert.bad_at = one.labels, one.links, now


# ---- reading the payload ----


def _told(payload: Any) -> list[_Told]:
    if not isinstance(payload, Mapping) or payload.get("version") != "4":
        raise InvalidInput('Send an Alertmanager webhook of version "4".')
    rows = payload.get("alerts")
    if not isinstance(rows, list) or len(rows) > ALERTS_MOST:
        raise InvalidInput(f"alerts is a list of at most {ALERTS_MOST}.")
    group = f"{alerting.ALERTMANAGER}{_text(payload.get('groupKey'), 180)}"
    return [_row(index, row, group) for index, row in enumerate(rows)]


def _row(index: int, row: Any, group: str) -> _Told:
    if not isinstance(row, Mapping) or row.get("status") not in ("firing", "resolved"):
        raise InvalidInput(f"alerts[{index}].status is firing or resolved.")
    given = row.get("labels")
    if not isinstance(given, Mapping) or not all(isinstance(value, str) for value in given.values()):
        raise InvalidInput(f"alerts[{index}].labels is a mapping of texts.")
    key = _text(row.get("fingerprint"), 64).strip()
    if not key:
        raise InvalidInput(f"alerts[{index}].fingerprint is missing.")
    labels = {_text(name, 80): _text(value, 300) for name, value in list(given.items())[:LABELS_MOST]}
    said = row.get("annotations")
    notes = said if isinstance(said, Mapping) else {}
    links = {"graph": _address(row.get("generatorURL")), "runbook": _address(notes.get("runbook_url"))}
    return _Told(
        key,
        row["status"] == "firing",
        labels.get("alertname", "")[:200] or "Alert",
        SEVERITIES.get(labels.get("severity", "").lower(), Severity.INFO).value,
        group,
        _text(notes.get("summary") or notes.get("description"), 500),
        labels,
        {name: address for name, address in links.items() if address},
        _moment(row.get("startsAt")),
    )


def _text(said: Any, most: int) -> str:
    return said.replace("\x00", "")[:most] if isinstance(said, str) else ""


def _address(said: Any) -> str:
    """Return an address that a page may link to; empty for any other."""
    text = _text(said, 500)
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and parts.netloc else ""


def _moment(said: Any) -> datetime | None:
    """Return a moment that can be true; None for what is none, and for Go's zero time."""
    try:
        found = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    if found is None or found.tzinfo is None or not 2000 <= found.year <= 9000:
        return None
    return found.astimezone(UTC)
