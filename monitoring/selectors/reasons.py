"""Why a verdict is what it is, for pages and the API: of a criterion's reading, and of an alert whatever it came from."""

from datetime import datetime, timedelta

from hawkops.core.why import Number, Why
from monitoring.domain import alerting
from monitoring.domain.alerting import Episode, Kind, Sign, Source, State
from monitoring.domain.criteria import spoken
from monitoring.domain.why import life, why, with_life
from monitoring.models import Alert
from monitoring.selectors.criteria import Evaluated, criteria, evaluate
from monitoring.selectors.health import check
from monitoring.selectors.looks import SILENT_AFTER, STOPPED_FOR, UNREAD_FOR, look_again
from monitoring.selectors.patterns import Breach, breaches

HEALTH_PREFIX, PATTERN_PREFIX = "health-", "pattern-"


def of(found: Evaluated, *, now: datetime, since: datetime | None = None) -> Why:
    """Explain a criterion as it was evaluated. No query."""
    return why(found.criterion, found.reading, found.judgement, now=now, since=since)


def of_alert(alert: Alert, *, now: datetime) -> Why:
    """Explain an alert: what its rule reads now, and until when that must hold for it to fire or to resolve.

    A few queries.
    """
    if alert.source not in list(Source):
        return Why(alert.title, (("Said", alert.sentence),))
    source, kind = Source(alert.source), Kind(alert.kind)
    found = look_again(source, alert.key, kind, alert.environment, now=now)
    seen, for_ = (found.sign, found.for_) if found is not None else (Sign.UNKNOWN, timedelta())
    said = found.sentence if found is not None else alert.sentence
    if source is Source.ALERTMANAGER:
        return _of_alertmanager(alert)
    explained = _explained(alert, source, kind, said, now)
    episode = Episode(State(alert.state), alert.since_at, alert.well_at, alert.acknowledged_until)
    return with_life(explained, life(episode, seen, for_=for_, now=now))


def _explained(alert: Alert, source: Source, kind: Kind, said: str, now: datetime) -> Why:
    if source is Source.CRITERION:
        if kind is Kind.BREACH:
            for one in evaluate(alert.environment, criteria(keys=[alert.key]), now=now):
                return of(one, now=now)
        return _silent(alert, said)
    numbers: tuple[Number, ...] = (("Now", said),)
    if source is Source.HEALTH and (found := check(alert.key.removeprefix(HEALTH_PREFIX))) is not None:
        asked = f"asked every {spoken(found.interval)}, {spoken(found.timeout)} at most"
        if kind is Kind.NO_DATA:
            return Why(
                alert.title,
                numbers,
                f"a result younger than {spoken(found.late_after)}: {asked}",
                turns=(f"It changes when the check runs again; it is missing after {spoken(STOPPED_FOR)}.",),
            )
        return Why(alert.title, numbers, f"{found.means}: {asked}", turns=("It changes with the check's next result.",))
    if source is Source.PATTERN:
        for breach in breaches(alert.environment, now=now):
            if breach.pattern.key == alert.key.removeprefix(PATTERN_PREFIX):
                return _of_pattern(alert, breach)
    if source is Source.TELEMETRY:
        return Why(
            alert.title,
            numbers,
            f"age of the newest telemetry of {alert.environment} < {spoken(SILENT_AFTER)}",
            turns=("It changes with the next payload of any device.",),
        )
    if source is Source.LOGS:
        formula = f"time without a read of the source < {spoken(UNREAD_FOR)}"
        return Why(alert.title, numbers, formula, turns=("It changes when the source is read again.",))
    if source is Source.WATCH:
        formula = f"age of the newest look at {alert.environment} ≤ {spoken(alerting.LATE_AFTER)}"
        return Why(alert.title, numbers, formula, turns=("It changes with the next look that comes to its end.",))
    return Why(alert.title, numbers)


def _of_pattern(alert: Alert, breach: Breach) -> Why:
    limit, window = breach.pattern.limit or 0, spoken(breach.pattern.window)
    rows = (("Lines", str(breach.count)), ("Limit", f"< {limit}"), ("Window", window))
    turn = f"It is missed from {limit} on: {limit - breach.count} more within {window}."
    if breach.missed:
        turn = f"It is well below {limit}: {breach.count - limit + 1} fewer within {window}."
    formula = f"number of lines that match {breach.pattern.expression} over {window} < {limit}"
    return Why(alert.title, rows, formula, turns=(turn,))


def _silent(alert: Alert, said: str) -> Why:
    return Why(
        alert.title,
        (("Now", said),),
        f"age of the newest {alert.metric} < {spoken(alerting.SILENT_FOR)}",
        turns=(f"It changes with the next {alert.metric} of any device that the criterion reads.",),
    )


def _of_alertmanager(alert: Alert) -> Why:
    return Why(
        alert.title,
        (("Said", alert.sentence),) if alert.sentence else (),
        "judged by Alertmanager, by its own rule",
        turns=("It ends when Alertmanager says that it is resolved, or when somebody closes it.",),
    )
