"""Alerts: evaluated every ten seconds, moved by the table of moves, each move one history entry in its transaction."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from billiard.exceptions import SoftTimeLimitExceeded
from django.db import DatabaseError, connection

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from monitoring.domain import alerting
from monitoring.domain.alerting import OWNER, Action, Episode, Identity, Kind, Look, Move, Sign, Source, State
from monitoring.domain.criteria import Purpose, Severity
from monitoring.models import Alert, Evaluation, Silence
from monitoring.selectors import quieting
from monitoring.selectors.alerts import silences
from monitoring.selectors.looks import SILENT_KEY, looks
from monitoring.selectors.quieting import Quiet
from monitoring.selectors.sections import matrix
from monitoring.services.episodes import Moves, lock, moves, state, typed

log = logging.getLogger(__name__)
RULE = Actor.rule("alerts")
WATCH = Actor.rule("evaluation-watch")
STOPPED_KEY = "evaluation-stopped"
KEPT = timedelta(days=90)
# An evaluation that read later has the say; a clock that was set back must not stop all evaluations.
OVERTAKEN = timedelta(seconds=60)
EVALUATED = frozenset(Source) - {Source.WATCH}
VERBS = {
    Move.BEGIN: "alert.pending",
    Move.FIRE: "alert.fired",
    Move.FIRE_AT_ONCE: "alert.fired",
    Move.RESOLVE: "alert.resolved",
    Move.PAGE_AGAIN: "alert.paged_again",
}


def alerts_evaluate(*, environments: Iterable[str] = tuple(Environment)) -> int:
    """Look at every environment and return how many alerts moved.

    Where another evaluates just now, it is left to them; an environment that fails is logged and counted, and the
    others are looked at all the same. Raises SoftTimeLimitExceeded when the time that all have is over: it is counted
    where it ended and where nobody could look any more.
    """
    moved, left = 0, list(environments)
    while left:
        try:
            moved += _environment_evaluate(left[0])
        except SoftTimeLimitExceeded:
            _out_of_time(left)
            raise
        left.pop(0)
    return moved


def _environment_evaluate(environment: str) -> int:
    now, began = clock.now(), time.monotonic()
    try:
        # read before the transaction begins: it ends after seconds of idling, and holds locks
        found = looks(environment, now=now)
        quiets = [*quieting.in_force(environment), *_silence_of_ingest(found)]
        return _judge(environment, found, quiets, now, began)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        log.exception("alerts.evaluation_failed", extra={"environment": environment})
        _mend_connection()
        with suppress(DatabaseError):
            _failed(environment, f"{type(error).__name__}: {error}", now)
        return 0


def _out_of_time(left: Sequence[str]) -> None:
    """Count that the time was over while the first of these was looked at, and that nobody looked at the others."""
    log.error("alerts.evaluation_out_of_time", extra={"environments": list(left)})
    _mend_connection()
    for place, environment in enumerate(left):
        why = f"the time for all environments was over in {left[0]}" if place else "its time was over"
        with suppress(DatabaseError):
            _failed(environment, why, clock.now())


def _mend_connection() -> None:
    """Close a connection that broke; the others are looked at all the same."""
    if connection.connection is not None and not connection.in_atomic_block and not connection.is_usable():
        connection.close()


def _silence_of_ingest(found: Sequence[Look]) -> list[Quiet]:
    silent = any(look.key == SILENT_KEY and look.sign is Sign.BAD for look in found)
    return [Quiet("no telemetry arrives", _of_silence)] if silent else []


def _of_silence(look: Look) -> bool:
    """Say whether missing telemetry explains a look; a security breach that was measured it does not."""
    return look.from_telemetry and not (look.purpose is Purpose.SECURITY and look.kind is Kind.BREACH)


def _failed(environment: str, error: str, now: datetime) -> None:
    found, _ = Evaluation.objects.get_or_create(pk=environment, defaults={"began_at": now})
    found.failed_at, found.failures, found.error = now, found.failures + 1, error.replace("\x00", "")[:300]
    found.save(update_fields=["failed_at", "failures", "error"])


def _judge(environment: str, found: Sequence[Look], quiets: Sequence[Quiet], now: datetime, began: float) -> int:
    with moves(actor=RULE, environment=environment) as made:
        if not lock(f"alerts:{environment}", wait=False):
            return 0
        last, _ = Evaluation.objects.get_or_create(pk=environment, defaults={"began_at": now})
        if last.looked_at is not None and now < last.looked_at < now + OVERTAKEN:
            return 0
        _apply(made, environment, found, quiets, now, sources=EVALUATED)
        last.looked_at, last.seconds = now, time.monotonic() - began
        last.failures, last.error = 0, ""
        last.save()
    return made.count


@dataclass(frozen=True)
class _Hush:
    """What keeps an alert from being heard."""

    quiet: Quiet | None
    silence: Silence | None

    @property
    def reason(self) -> str:
        return self.quiet.reason[:200] if self.quiet else ""

    def differs(self, alert: Alert) -> bool:
        return alert.inhibited_by != self.reason or alert.silence_id != (self.silence.pk if self.silence else None)

    def verb(self, alert: Alert) -> str:
        """Return how the difference is told."""
        if self.reason and self.reason != alert.inhibited_by:
            return "alert.explained"
        if self.silence:
            return "alert.silenced"
        return "alert.explained" if self.reason else "alert.uncovered"

    def words(self) -> str:
        if self.reason:
            return self.reason
        return f"silenced by {self.silence.owner}: {self.silence.reason}" if self.silence else "nothing explains it now"


def _apply(
    made: Moves,
    environment: str,
    found: Sequence[Look],
    quiets: Sequence[Quiet],
    now: datetime,
    *,
    sources: frozenset[Source],
) -> None:
    """Move the alerts of some sources by the looks at them. Three queries, and the writes."""
    rows = Alert.objects.select_for_update(no_key=True).filter(
        environment=environment, resolved_at=None, source__in=[source.value for source in sources]
    )
    opened: dict[Identity, Alert] = {(one.source, one.key, one.kind): one for one in rows.order_by("pk")}
    in_force = silences(environment, now=now)
    closed = _closed(environment)
    for look in [*found, *_unseen(opened, found)]:
        alert = opened.get(look.identity)
        if alert is None:
            ended = closed.get(look.identity)
            if look.sign is not Sign.BAD or (ended and (look.data_at is None or look.data_at <= ended)):
                continue
            alert = _begun(environment, look, now)
        quiet = next((one for one in quiets if one.covers(look)), None)
        _move(made, alert, look, _Hush(quiet, next((one for one in in_force if one.hides(alert)), None)), now)


def _closed(environment: str) -> dict[Identity, datetime]:
    """Return when people ended alerts: what was measured until then opens none again."""
    rows = Alert.objects.filter(environment=environment).exclude(closed_by="").order_by("resolved_at")
    return {
        (source, key, kind): at
        for source, key, kind, at in rows.values_list("source", "key", "kind", "resolved_at")
        if at is not None
    }


def _unseen(opened: Mapping[Identity, Alert], found: Sequence[Look]) -> Iterable[Look]:
    """Give a look at each open alert that got none: it is well when nobody judges it here any more.

    Of Alertmanager's alerts only Alertmanager knows; they are looked at so that they page again and silences end.
    """
    seen = {look.identity for look in found}
    for identity, alert in opened.items():
        if identity not in seen:
            elsewhere = alert.source == Source.ALERTMANAGER
            yield Look(
                source=Source(alert.source),
                key=alert.key,
                kind=Kind(alert.kind),
                title=alert.title,
                severity=Severity(alert.severity),
                group=alert.group,
                sign=Sign.UNKNOWN if elsewhere else Sign.WELL,
                sentence=alert.sentence if elsewhere else "its rule is paused, deleted or alerts here no longer",
                simulated=alert.simulated,
                action=Action(alert.action) if alert.action else None,
            )


def _begun(environment: str, look: Look, now: datetime) -> Alert:
    return Alert(
        environment=environment,
        source=look.source.value,
        key=look.key,
        kind=look.kind.value,
        group=look.group,
        title=look.title,
        metric=look.metric,
        severity=look.severity.value,
        action=look.action.value if look.action else "",
        state=State.PENDING.value,
        since_at=now,
        bad_at=now,
        data_at=look.data_at,
        simulated=look.simulated,
    )


def _move(made: Moves, alert: Alert, look: Look, hush: _Hush, now: datetime) -> None:
    episode = None
    if alert.pk is not None:
        episode = Episode(State(alert.state), alert.since_at, alert.well_at, alert.acknowledged_until)
    move = alerting.step(episode, look.sign, for_=look.for_, now=now)
    if move is Move.DROP:
        made.drop(alert, reason=look.sentence)
        return
    hushed = hush.differs(alert)
    if move is Move.NONE and not hushed:
        return
    before = state(alert) if alert.pk is not None else None
    verb = VERBS.get(move) or (hush.verb(alert) if hushed and alert.told else "")
    _change(alert, move, look, now)
    alert.inhibited_by, alert.silence = hush.reason, hush.silence
    alert.save()
    if verb:
        told = move in VERBS
        made.note(
            alert,
            verb,
            before=before,
            reason=look.sentence if told else hush.words(),
            cause=hush.quiet.cause if hush.quiet and not told else None,
            hidden=move is Move.BEGIN,
        )


def _change(alert: Alert, move: Move, look: Look, now: datetime) -> None:
    """Write a move into the row."""
    if look.sign is Sign.BAD:
        alert.bad_at, alert.sentence, alert.well_at = now, look.sentence, None
        alert.group, alert.action = look.group, look.action.value if look.action else ""
    if move is Move.LOSE_SIGHT:
        alert.well_at = None
    elif move is Move.RECOVER:
        alert.well_at = now
    elif move in (Move.FIRE, Move.FIRE_AT_ONCE):
        alert.state, alert.fired_at = State.FIRING.value, now
    elif move is Move.PAGE_AGAIN:
        alert.state, alert.acknowledged_until = State.FIRING.value, None
        alert.acknowledged_at, alert.acknowledged_by = None, ""
    elif move is Move.RESOLVE:
        alert.state, alert.resolved_at, alert.sentence = State.RESOLVED.value, now, look.sentence


# ---- who watches the evaluation ----


def evaluation_watch() -> int:
    """Raise an alert where evaluation has stopped, and resolve it when it is back; return how many alerts moved.

    Run by a process that needs neither Celery nor beat. One environment that isn't looked at alerts there; when none
    is, that has one cause and alerts once.
    """
    now = clock.now()
    known = {one.environment: one for one in Evaluation.objects.all()}
    for missing in {one.value for one in Environment} - known.keys():
        known[missing], _ = Evaluation.objects.get_or_create(pk=missing, defaults={"began_at": now})
    late = [one for one in known.values() if now - (one.looked_at or one.began_at) > alerting.LATE_AFTER]
    every = len(late) == len(known)
    standing = set(
        Alert.objects.filter(source=Source.WATCH.value, resolved_at=None).values_list("environment", flat=True)
    )
    # environments grow late seconds apart: what stands already tells it
    told = {one.environment for one in late} & standing
    told = told or ({OWNER} if every else {one.environment for one in late})
    moved = 0
    for environment in sorted(told | standing):
        look = _watched(known[environment], bad=environment in told, every=every, now=now)
        with moves(actor=WATCH, environment=environment) as made:
            if lock(f"watch:{environment}", wait=False):
                _apply(made, environment, [look], [], now, sources=frozenset({Source.WATCH}))
        moved += made.count
    return moved


def _watched(last: Evaluation, *, bad: bool, every: bool, now: datetime) -> Look:
    where = "any environment" if every else last.environment
    age = (now - (last.looked_at or last.began_at)).total_seconds()
    sentence = f"the last look at {where} was {age:.0f} s ago, one is due every {alerting.EVERY.total_seconds():.0f} s"
    if last.looked_at is None:
        sentence = f"nobody has looked at {where} since {age:.0f} s"
    return Look(
        source=Source.WATCH,
        key=STOPPED_KEY,
        kind=Kind.NO_DATA,
        title="Alerts are not evaluated",
        severity=Severity.CRITICAL,
        group=alerting.HEALTH,
        sign=Sign.BAD if bad else Sign.WELL,
        sentence=f"{sentence}; {last.error}" if last.error else sentence,
        data_at=last.looked_at or last.began_at,
    )


# ---- people ----


def alert_acknowledge(*, alert_id: int, actor: Actor, reason: str = "", request_id: str = "") -> Alert:
    """Take an alert on oneself: it pages nobody until its time is over. Raises NotFound or Conflict."""
    now = clock.now()
    with moves(actor=actor, reason=typed(reason, most=300, what="reason"), request_id=request_id) as made:
        alert = _found(alert_id)
        if State.ACKNOWLEDGED not in alerting.MOVES[State(alert.state)]:
            raise Conflict(f"The alert is {alert.state}; only one that fires can be acknowledged.")
        before = state(alert)
        alert.state, alert.acknowledged_at, alert.acknowledged_by = State.ACKNOWLEDGED.value, now, actor.label
        alert.acknowledged_until = now + matrix()[Severity(alert.severity)].respond
        alert.save()
        until = {"until": alert.acknowledged_until.isoformat()}
        made.note(alert, "alert.acknowledged", before=before, after=until)
    return alert


def alert_close(*, alert_id: int, actor: Actor, reason: str, request_id: str = "") -> Alert:
    """End an alert that nothing else can end; newer data may open it again. Raises NotFound, Conflict, InvalidInput."""
    reason = typed(reason, most=300, what="reason")
    if not reason:
        raise InvalidInput("Say why it is over: nothing measured says so.")
    with moves(actor=actor, reason=reason, request_id=request_id) as made:
        alert = _found(alert_id)
        if State.RESOLVED not in alerting.MOVES[State(alert.state)]:
            raise Conflict(f"The alert is {alert.state}; only one that was told can be closed.")
        before = state(alert)
        alert.state, alert.resolved_at, alert.closed_by = State.RESOLVED.value, clock.now(), actor.label
        alert.save()
        made.note(alert, "alert.closed", before=before)
    return alert


def _found(alert_id: int) -> Alert:
    alert = Alert.objects.select_for_update(no_key=True).filter(pk=alert_id).first()
    if alert is None:
        raise NotFound("There is no such alert.")
    return alert


def alerts_prune() -> int:
    """Forget episodes that ended long ago; the history keeps that they were."""
    return Alert.objects.filter(resolved_at__lt=clock.now() - KEPT).delete()[0]
