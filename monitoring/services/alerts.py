"""Alerts: evaluated every ten seconds, moved by the table of moves, each move one history entry in its transaction."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.live import announce
from hawkops.core.verdicts import Verdict
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from monitoring.domain import alerting
from monitoring.domain.alerting import Episode, Kind, Move, State
from monitoring.domain.criteria import Purpose, Severity
from monitoring.events import alert_moved
from monitoring.models import Alert, Silence
from monitoring.selectors import quieting
from monitoring.selectors.criteria import Evaluated, criteria, evaluate
from monitoring.selectors.health import Standing, health
from monitoring.selectors.patterns import breaches
from monitoring.selectors.quieting import Quiet
from monitoring.selectors.sections import matrix
from monitoring.selectors.telemetry import last_data_at

RULE = Actor.rule("alerts")
SILENT_KEY = "telemetry-silent"
PATTERN = "pattern"
SILENT_AFTER = timedelta(minutes=2)
SILENCE_MOST = timedelta(days=14)
KEPT = timedelta(days=90)
VERBS = {
    Move.BEGIN: "alert.pending",
    Move.FIRE: "alert.fired",
    Move.FIRE_AT_ONCE: "alert.fired",
    Move.RESOLVE: "alert.resolved",
    Move.PAGE_AGAIN: "alert.paged_again",
    Move.DROP: "alert.dropped",
}


@dataclass(frozen=True)
class Look:
    """One look at one kind of one alert."""

    source: str
    key: str
    kind: Kind
    title: str
    metric: str
    severity: Severity
    for_: timedelta
    sign: alerting.Sign
    sentence: str
    data_at: datetime | None
    simulated: bool

    @property
    def stands_alone(self) -> bool:
        """Whether nothing explains it away: the silence itself, and a line that was written whatever else is silent."""
        return self.key == SILENT_KEY or self.source == PATTERN


def alerts_evaluate(*, environments: Iterable[str] = tuple(Environment)) -> int:
    """Look at every environment and return how many alerts moved. Where another evaluates just now, it is left to them."""
    return sum(_environment_evaluate(environment) for environment in environments)


def _environment_evaluate(environment: str) -> int:
    now = clock.now()
    with transaction.atomic():
        if not _mine(environment):
            return 0
        looks = list(_looks(environment, now))
        quiets = [*quieting.in_force(environment), *_silence_of_ingest(looks)]
        with change(actor=RULE, environment=environment) as this:
            moved = [_look(this, environment, look, quiets, now) for look in looks]
        if any(moved):
            announce("alerts", environment)
    return sum(moved)


def _mine(environment: str) -> bool:
    """Take the environment's evaluation for this transaction; False when somebody else has it."""
    number = int.from_bytes(hashlib.sha256(f"alerts:{environment}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _looks(environment: str, now: datetime) -> Iterable[Look]:
    """Give a look for each kind of alert of each criterion, and one for the environment's telemetry as a whole."""
    newest = last_data_at(environment)
    silent = now - newest if newest is not None else None
    verdict = alerting.Sign.UNKNOWN
    if silent is not None:
        verdict = alerting.Sign.BAD if silent >= SILENT_AFTER else alerting.Sign.WELL
    sentence = f"no telemetry for {silent.total_seconds():.0f} s" if silent is not None else "nothing has ever reported"
    yield Look(
        "telemetry",
        SILENT_KEY,
        Kind.NO_DATA,
        "No telemetry arrives",
        "",
        Severity.CRITICAL,
        timedelta(),
        verdict,
        sentence,
        newest,
        False,
    )
    if newest is not None:  # where nothing ever reported, nobody waits for health
        yield from map(_health_look, health(environment, now=now))
    yield from _pattern_looks(environment, now)
    wanted = [one for one in criteria(purposes=(Purpose.ALERT, Purpose.SECURITY)) if not one.paused]
    for found in evaluate(environment, wanted, now=now):
        yield from _criterion_looks(found, now)


def _health_look(one: Standing) -> Look:
    seen = {Verdict.PASS: alerting.Sign.WELL, Verdict.FAIL: alerting.Sign.BAD, Verdict.STALE: alerting.Sign.BAD}
    return Look(
        "health",
        f"health-{one.check.key}",
        Kind.BREACH,
        f"{one.check.title} fails",
        "",
        Severity.CRITICAL if one.check.per_environment else Severity.WARNING,
        timedelta(),
        seen.get(one.verdict, alerting.Sign.UNKNOWN),
        one.sentence,
        one.last_at,
        False,
    )


def _pattern_looks(environment: str, now: datetime) -> Iterable[Look]:
    """Give a look for each log pattern with a limit; an alert whose pattern alerts no longer is well."""
    found = {one.pattern.key: one for one in breaches(environment, now=now)}
    for one in found.values():
        yield Look(
            PATTERN,
            f"pattern-{one.pattern.key}",
            Kind.BREACH,
            one.pattern.title,
            "",
            one.pattern.severity,
            timedelta(),
            alerting.Sign.BAD if one.missed else alerting.Sign.WELL,
            one.sentence,
            one.last_at,
            one.simulated,
        )
    for alert in Alert.objects.filter(environment=environment, source=PATTERN, resolved_at=None):
        if alert.key.removeprefix("pattern-") not in found:
            yield Look(
                PATTERN,
                alert.key,
                Kind.BREACH,
                alert.title,
                "",
                Severity(alert.severity),
                timedelta(),
                alerting.Sign.WELL,
                "the pattern is paused, deleted or has no limit any more",
                None,
                alert.simulated,
            )


def _criterion_looks(found: Evaluated, now: datetime) -> Iterable[Look]:
    one, at = found.criterion, found.reading.at
    age = now - at if at is not None else None
    for kind, title in ((Kind.BREACH, one.title), (Kind.NO_DATA, f"{one.title}: no data")):
        seen = alerting.sign(kind, found.judgement.verdict, silent_for=age)
        if kind is Kind.NO_DATA and not one.no_data:
            continue
        yield Look(
            "criterion",
            one.key,
            kind,
            title,
            one.over.metric,
            one.severity if kind is Kind.BREACH else Severity.WARNING,
            one.for_ if kind is Kind.BREACH else timedelta(),
            seen,
            found.judgement.sentence,
            at,
            found.simulated,
        )


def _silence_of_ingest(looks: list[Look]) -> list[Quiet]:
    silent = any(look.key == SILENT_KEY and look.sign is alerting.Sign.BAD for look in looks)
    return [Quiet("no telemetry arrives", ("",))] if silent else []


def _look(this: Change, environment: str, look: Look, quiets: list[Quiet], now: datetime) -> bool:
    alert = (
        Alert.objects.select_for_update(no_key=True)
        .filter(environment=environment, source=look.source, key=look.key, kind=look.kind.value, resolved_at=None)
        .first()
    )
    episode = None
    if alert is not None:
        episode = Episode(State(alert.state), alert.since_at, alert.bad_at, alert.acknowledged_until)
    move = alerting.step(episode, look.sign, for_=look.for_, now=now)
    inhibited = "" if look.stands_alone else next((q.reason for q in quiets if q.covers(look.metric)), "")
    if move is Move.NONE and (alert is None or alert.inhibited_by == inhibited):
        return False
    if alert is None:
        alert = _begun(environment, look, now)
    return _moved(this, alert, move, look, inhibited, now)


def _begun(environment: str, look: Look, now: datetime) -> Alert:
    return Alert(
        environment=environment,
        source=look.source,
        key=look.key,
        kind=look.kind.value,
        title=look.title,
        metric=look.metric,
        severity=look.severity.value,
        state=State.PENDING.value,
        since_at=now,
        bad_at=now,
        data_at=look.data_at,
        simulated=look.simulated,
    )


def _moved(this: Change, alert: Alert, move: Move, look: Look, inhibited: str, now: datetime) -> bool:
    before = alert.state if alert.pk else None
    alert.inhibited_by = inhibited
    if look.sign is alerting.Sign.BAD:
        alert.bad_at, alert.sentence = now, look.sentence
    if move is Move.DROP:
        subject = f"alert:{alert.pk}"
        alert.delete()
        this.record(
            VERBS[move], subject=subject, before={"state": before}, after=None, reason=look.sentence, hidden=True
        )
        return True
    if move in (Move.FIRE, Move.FIRE_AT_ONCE):
        alert.state, alert.fired_at = State.FIRING.value, now
    elif move is Move.PAGE_AGAIN:
        alert.state, alert.acknowledged_until = State.FIRING.value, None
    elif move is Move.RESOLVE:
        alert.state, alert.resolved_at, alert.sentence = State.RESOLVED.value, now, look.sentence
    alert.save()
    verb = VERBS.get(move)
    if verb is None:
        return False
    this.record(
        verb,
        subject=f"alert:{alert.pk}",
        before={"state": before} if before else None,
        after=_state(alert),
        reason=look.sentence,
        hidden=move is Move.BEGIN,
    )
    if move is not Move.BEGIN:
        alert_moved.announce(alert.pk, verb)
    return True


def _state(alert: Alert) -> dict[str, Any]:
    seconds = alert.detection_seconds
    return {
        "state": alert.state,
        "key": alert.key,
        "kind": alert.kind,
        "severity": alert.severity,
        "title": alert.title,
        "inhibited_by": alert.inhibited_by,
        "detection_seconds": None if seconds is None else round(seconds, 1),
    }


# ---- people ----


def alert_acknowledge(*, alert_id: int, actor: Actor, reason: str = "", request_id: str = "") -> Alert:
    """Take an alert on oneself: it pages nobody until its time is over. Raises NotFound or Conflict."""
    now = clock.now()
    with change(actor=actor, reason=reason.strip()[:300], request_id=request_id) as this:
        alert = Alert.objects.select_for_update(no_key=True).filter(pk=alert_id).first()
        if alert is None:
            raise NotFound("There is no such alert.")
        if State.ACKNOWLEDGED not in alerting.MOVES[State(alert.state)]:
            raise Conflict(f"The alert is {alert.state}; only one that fires can be acknowledged.")
        this.environment = alert.environment
        before = {"state": alert.state}
        alert.state, alert.acknowledged_at, alert.acknowledged_by = State.ACKNOWLEDGED.value, now, actor.label
        alert.acknowledged_until = now + matrix()[Severity(alert.severity)].respond
        alert.save()
        until = {"until": alert.acknowledged_until.isoformat()}
        this.record("alert.acknowledged", subject=f"alert:{alert.pk}", before=before, after={**_state(alert), **until})
        announce("alerts", alert.environment)
        alert_moved.announce(alert.pk, "alert.acknowledged")
    return alert


def silence_create(
    *, environment: str, pattern: str, span: timedelta, actor: Actor, reason: str, request_id: str = ""
) -> Silence:
    """Silence alerts whose key matches a pattern (`alert-gpu-*`) for a while. Raises InvalidInput."""
    pattern = pattern.strip()
    if not pattern or len(pattern) > 120 or any(c.isspace() for c in pattern):
        raise InvalidInput("Say which alerts: a key, or a pattern such as alert-gpu-*.")
    if pattern.strip("*?") == "":
        raise InvalidInput("A silence over everything would hide an outage; name what is known.")
    if not reason.strip():
        raise InvalidInput("Say why: whoever finds the silence at night must know.")
    if not timedelta() < span <= SILENCE_MOST:
        raise InvalidInput(f"A silence ends, within {SILENCE_MOST.days} days at the latest.")
    now = clock.now()
    with change(actor=actor, environment=environment, reason=reason.strip()[:300], request_id=request_id) as this:
        made = Silence.objects.create(
            environment=environment,
            pattern=pattern,
            owner=actor.label,
            reason=reason.strip()[:300],
            starts_at=now,
            ends_at=now + span,
        )
        after = {"pattern": pattern, "ends_at": made.ends_at.isoformat()}
        this.record("silence.created", subject=f"silence:{made.pk}", after=after)
        announce("alerts", environment)
    return made


def silence_end(*, silence: Silence, actor: Actor, request_id: str = "") -> Silence:
    """End a silence now."""
    now = clock.now()
    with change(actor=actor, environment=silence.environment, request_id=request_id) as this:
        found = Silence.objects.select_for_update(no_key=True).get(pk=silence.pk)
        if found.ends_at <= now:
            raise Conflict("The silence is over already.")
        before = {"ends_at": found.ends_at.isoformat()}
        found.ends_at = now
        found.save(update_fields=["ends_at"])
        this.record("silence.ended", subject=f"silence:{found.pk}", before=before, after={"ends_at": now.isoformat()})
        announce("alerts", found.environment)
    return found


# ---- alerts from elsewhere ----

ALERTMANAGER = "alertmanager"
ALERTS_MOST = 1_000
SEVERITIES = {"critical": Severity.CRITICAL, "page": Severity.CRITICAL, "warning": Severity.WARNING}


def alertmanager_take(*, environment: str, payload: Any, actor: Actor) -> int:
    """Take a webhook of Alertmanager (version 4) and return how many alerts moved. Raises InvalidInput."""
    rows = _alertmanager_rows(payload)
    now = clock.now()
    with change(actor=actor, environment=environment) as this:
        moved = sum(_alertmanager_row(this, environment, row, now) for row in rows)
        if moved:
            announce("alerts", environment)
    return moved


def _alertmanager_rows(payload: Any) -> list[Mapping[str, Any]]:
    if not isinstance(payload, Mapping) or payload.get("version") != "4":
        raise InvalidInput('Send an Alertmanager webhook of version "4".')
    rows = payload.get("alerts")
    if not isinstance(rows, list) or len(rows) > ALERTS_MOST:
        raise InvalidInput(f"alerts is a list of at most {ALERTS_MOST}.")
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.get("status") not in ("firing", "resolved"):
            raise InvalidInput(f"alerts[{index}].status is firing or resolved.")
        labels = row.get("labels")
        if not isinstance(labels, Mapping) or not all(isinstance(v, str) for v in labels.values()):
            raise InvalidInput(f"alerts[{index}].labels is a mapping of texts.")
        if not isinstance(row.get("fingerprint"), str) or not row["fingerprint"][:64].strip():
            raise InvalidInput(f"alerts[{index}].fingerprint is missing.")
    return rows


def _alertmanager_row(this: Change, environment: str, row: Mapping[str, Any], now: datetime) -> bool:
    labels = {str(name)[:80]: str(value)[:300] for name, value in list(row["labels"].items())[:50]}
    annotations = row.get("annotations") if isinstance(row.get("annotations"), Mapping) else {}
    key = row["fingerprint"][:64]
    alert = (
        Alert.objects.select_for_update(no_key=True)
        .filter(environment=environment, source=ALERTMANAGER, key=key, resolved_at=None)
        .first()
    )
    sentence = str((annotations or {}).get("summary") or (annotations or {}).get("description") or "")[:500]
    if row["status"] == "resolved":
        if alert is None:
            return False
        before = {"state": alert.state}
        alert.state, alert.resolved_at = State.RESOLVED.value, now
        alert.save()
        this.record("alert.resolved", subject=f"alert:{alert.pk}", before=before, after=_state(alert), reason=sentence)
        alert_moved.announce(alert.pk, "alert.resolved")
        return True
    if alert is not None:
        alert.bad_at, alert.sentence = now, sentence
        alert.save(update_fields=["bad_at", "sentence"])
        return False
    alert = Alert.objects.create(
        environment=environment,
        source=ALERTMANAGER,
        key=key,
        kind=Kind.BREACH.value,
        title=labels.get("alertname", "Alert")[:200],
        severity=SEVERITIES.get(labels.get("severity", "").lower(), Severity.INFO).value,
        state=State.FIRING.value,
        sentence=sentence,
        labels=labels,
        since_at=now,
        bad_at=now,
        fired_at=now,
    )
    this.record("alert.fired", subject=f"alert:{alert.pk}", after={**_state(alert), "labels": labels}, reason=sentence)
    alert_moved.announce(alert.pk, "alert.fired")
    return True


def alerts_prune() -> int:
    """Forget episodes that ended long ago; the history keeps that they were."""
    return Alert.objects.filter(resolved_at__lt=clock.now() - KEPT).delete()[0]
