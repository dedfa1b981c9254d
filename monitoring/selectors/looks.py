"""One look at an environment: what telemetry, health checks, log patterns and criteria say of each alert. Reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.domain import alerting
from monitoring.domain.alerting import NO_DATA_SUFFIX, OWNER, Action, Kind, Look, Sign, Source
from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Criterion, Purpose, Severity
from monitoring.domain.health import HealthCheck
from monitoring.domain.metrics import HISTORY_GAP
from monitoring.selectors import affected, measured, patterns
from monitoring.selectors.criteria import Evaluated, criteria, evaluate
from monitoring.selectors.health import Standing, checks, health
from monitoring.selectors.newcomers import newcomers
from monitoring.selectors.patterns import Breach, ReadState
from monitoring.selectors.sections import rules as limits
from monitoring.selectors.telemetry import last_data_at

SILENT_KEY = "telemetry-silent"
AFFECTED_KEY = "users-affected"
NEWCOMERS_KEY, NEWCOMERS_TITLE = "device-burst", "Many device ids appear at once"
SCAN_KEY = "log-scan"
SILENT_AFTER = timedelta(minutes=2)
# A file may be away for a moment while it is rotated, and a scan late after a start.
UNREAD_FOR = timedelta(seconds=30)
STOPPED_FOR = timedelta(seconds=60)
# Measured once for the installation, whichever environment asks.
INSTALLATION_METRICS = frozenset({HISTORY_GAP})
# What criteria that alert are for; gates, phases and the others are asked when somebody wants to advance.
PURPOSES = (Purpose.ALERT, Purpose.SECURITY)


def looks(environment: str, *, now: datetime) -> list[Look]:
    """Look at everything that alerts in an environment; the installation's own alerts belong to `OWNER`."""
    newest = last_data_at(environment)
    found = [_silence(newest, now), _of_users(environment, now), *_of_newcomers(environment)]
    for one in health(environment, now=now):
        # where nothing ever reported, nobody waits for its devices
        awaited = newest is not None if one.check.per_environment else environment == OWNER
        if awaited:
            found += _of_health(one, environment)
    found += map(_of_pattern, patterns.breaches(environment, now=now))
    found += _of_reading(environment, now)
    for evaluated in evaluate(environment, _judged(environment), now=now):
        found += _of_criterion(evaluated, now)
    return found


def look_again(source: Source, key: str, kind: Kind, environment: str, *, now: datetime) -> Look | None:
    """Return what one alert's look says now, without looking at everything else; None for what is judged here no longer.

    Of Alertmanager's alerts, and of the evaluation itself, only they know.
    """
    found: Iterable[Look] = ()
    if source is Source.TELEMETRY:
        found = [_silence(last_data_at(environment), now), *_of_newcomers(environment)]
    elif source is Source.HEALTH:
        found = (look for one in health(environment, now=now) for look in _of_health(one, environment))
    elif source is Source.PATTERN:
        found = map(_of_pattern, patterns.breaches(environment, now=now))
    elif source is Source.LOGS:
        found = _of_reading(environment, now)
    elif source is Source.CRITERION:
        wanted = [one for one in _judged(environment) if one.key == key]
        found = (look for one in evaluate(environment, wanted, now=now) for look in _of_criterion(one, now))
    return next((one for one in found if one.key == key and one.kind is kind), None)


def why_silent(one: Criterion, environment: str) -> str:
    """Say why a criterion that is missed raises no alert in an environment; empty where it does."""
    if one.purpose not in PURPOSES:
        return f"judged for {one.purpose}, it alerts nobody"
    if one.paused:
        return "paused, it alerts nobody"
    if one.over.metric in INSTALLATION_METRICS and environment != OWNER:
        return f"it alerts once for the installation, in {OWNER}"
    return ""


@dataclass(frozen=True)
class Rule:
    """Something that may alert, by what a silence calls it."""

    name: str
    title: str
    severity: Severity


def rules(environment: str) -> list[Rule]:
    """Return everything that may alert in an environment, Alertmanager's alerts aside. A few queries."""
    found = [
        Rule(SILENT_KEY, "No telemetry arrives", Severity.CRITICAL),
        Rule(AFFECTED_KEY, "Too many users are affected", Severity.CRITICAL),
        Rule(NEWCOMERS_KEY, NEWCOMERS_TITLE, Severity.WARNING),
    ]
    for check in checks():
        if check.per_environment or environment == OWNER:
            severity = _severity(check)
            found.append(Rule(f"health-{check.key}", f"{check.title} fails", severity))
            found.append(Rule(f"health-{check.key}{NO_DATA_SUFFIX}", f"{check.title} is not checked", severity))
    for _, pattern in patterns.stored():
        if pattern.limit is not None and not pattern.paused:
            found.append(Rule(f"pattern-{pattern.key}", pattern.title, pattern.severity))
    for one in _judged(environment):
        found.append(Rule(one.key, one.title, one.severity))
        if one.no_data:
            found.append(Rule(f"{one.key}{NO_DATA_SUFFIX}", f"{one.title}: no data", Severity.WARNING))
    return found


def _judged(environment: str) -> list[Criterion]:
    return [one for one in criteria(purposes=PURPOSES) if why_silent(one, environment) == ""]


def _severity(check: HealthCheck) -> Severity:
    return Severity.CRITICAL if check.per_environment else Severity.WARNING


def _silence(newest: datetime | None, now: datetime) -> Look:
    silent = now - newest if newest is not None else None
    seen = Sign.UNKNOWN
    if silent is not None:
        seen = Sign.BAD if silent >= SILENT_AFTER else Sign.WELL
    return Look(
        source=Source.TELEMETRY,
        key=SILENT_KEY,
        kind=Kind.NO_DATA,
        title="No telemetry arrives",
        severity=Severity.CRITICAL,
        group=alerting.TELEMETRY,
        sign=seen,
        sentence=f"no telemetry for {silent.total_seconds():.0f} s"
        if silent is not None
        else "nothing has ever reported",
        data_at=newest,
    )


def _of_users(environment: str, now: datetime) -> Look:
    """Give a look at how many users are affected: above the rule's share everybody is woken."""
    limit, found = limits().users_affected, affected.affected(environment, now=now)
    return Look(
        source=Source.TELEMETRY,
        key=AFFECTED_KEY,
        kind=Kind.BREACH,
        title=f"More than {100 * limit:g} % of users are affected",
        severity=Severity.CRITICAL,
        group=alerting.APP,
        sign=found.sign(limit),
        sentence=found.sentence(limit),
        data_at=affected.newest_at(environment),
        from_telemetry=True,
        simulated=affected.simulated(environment, now=now),
    )


def _of_newcomers(environment: str) -> Iterable[Look]:
    """Give a look at device ids that come in a burst: they may be invented with a key that leaked out of an app."""
    found = newcomers(environment)
    if found is not None:
        yield Look(
            source=Source.TELEMETRY,
            key=NEWCOMERS_KEY,
            kind=Kind.BREACH,
            title=NEWCOMERS_TITLE,
            severity=Severity.WARNING,
            group=alerting.SECURITY,
            sign=Sign.BAD if found.is_burst else Sign.WELL,
            sentence=found.sentence,
        )


def _of_health(one: Standing, environment: str) -> Iterable[Look]:
    """Give a look at what a check says, and one at whether it still runs."""
    failed = one.verdict in (Verdict.FAIL, Verdict.ERROR)
    seen = Sign.BAD if failed else Sign.WELL if one.verdict is Verdict.PASS else Sign.UNKNOWN
    severity = _severity(one.check)
    key = f"health-{one.check.key}"
    # in demo the local device is asked as well, whatever arrives
    reported = one.check.per_environment and environment != Environment.DEMO
    yield Look(
        source=Source.HEALTH,
        key=key,
        kind=Kind.BREACH,
        title=f"{one.check.title} fails",
        severity=severity,
        group=alerting.HEALTH,
        sign=seen,
        sentence=one.sentence,
        data_at=one.last_at,
        for_=one.check.for_,
        from_telemetry=reported,
    )
    yield Look(
        source=Source.HEALTH,
        key=key,
        kind=Kind.NO_DATA,
        title=f"{one.check.title} is not checked",
        severity=severity,
        group=alerting.HEALTH,
        sign=Sign.BAD if one.verdict is Verdict.STALE else Sign.WELL,
        sentence=one.sentence,
        data_at=one.last_at,
        for_=STOPPED_FOR,
    )


def _of_pattern(one: Breach) -> Look:
    well = Sign.UNKNOWN if one.blind else Sign.WELL
    return Look(
        source=Source.PATTERN,
        key=f"pattern-{one.pattern.key}",
        kind=Kind.BREACH,
        title=one.pattern.title,
        severity=one.pattern.severity,
        group=alerting.SECURITY if one.pattern.suspicious else alerting.LOG_PATTERNS,
        sign=Sign.BAD if one.missed else well,
        sentence=one.sentence,
        data_at=one.last_at,
        simulated=one.simulated,
        action=Action.SECURITY_REVIEW if one.pattern.suspicious else None,
    )


def _of_reading(environment: str, now: datetime) -> Iterable[Look]:
    """Give a look at the scan of logs as a whole, and one at each source: what isn't read can't alert."""
    scanned = patterns.scanned_at()
    if scanned is None:
        return
    stopped = now - scanned > patterns.LATE
    if environment == OWNER:
        sentence = f"the last scan was {(now - scanned).total_seconds():.0f} s ago, one is due every 10 s"
        sign = Sign.BAD if stopped else Sign.WELL
        yield _reading(SCAN_KEY, "Logs are not read", sign, sentence, scanned)
    for one in patterns.read_states(environment, now=now):
        seen = Sign.UNKNOWN if stopped else Sign.BAD if one.why else Sign.WELL
        yield _reading(_log_key(one), one.source.unread, seen, one.why or "read", one.read_at)


def _log_key(one: ReadState) -> str:
    return f"log-{one.source.value.replace(' ', '-')}"


def _reading(key: str, title: str, seen: Sign, sentence: str, read_at: datetime | None) -> Look:
    return Look(
        source=Source.LOGS,
        key=key,
        kind=Kind.NO_DATA,
        title=title,
        severity=Severity.WARNING,
        group=alerting.LOG_PATTERNS,
        sign=seen,
        sentence=sentence,
        data_at=read_at,
        for_=UNREAD_FOR,
    )


def _of_criterion(found: Evaluated, now: datetime) -> Iterable[Look]:
    """Give a look at its limit and, where its silence matters, one at its data."""
    one, at = found.criterion, found.reading.at
    age = now - at if at is not None else None
    for kind in (Kind.BREACH, Kind.NO_DATA) if one.no_data else (Kind.BREACH,):
        breach = kind is Kind.BREACH
        yield Look(
            source=Source.CRITERION,
            key=one.key,
            kind=kind,
            title=one.title if breach else f"{one.title}: no data",
            severity=one.severity if breach else Severity.WARNING,
            group=alerting.group_of(purpose=one.purpose, metric=one.over.metric, backends=one.over.backends),
            sign=alerting.sign(kind, found.judgement.verdict, silent_for=age, in_scope=found.judgement.in_scope),
            sentence=found.judgement.sentence,
            data_at=at,
            for_=one.for_ if breach else timedelta(),
            metric=one.over.metric,
            backends=one.over.backends,
            purpose=one.purpose,
            from_telemetry=measured.reader(one.over.metric) is None,
            of_treatment=one.over.arm is Arm.TREATMENT,
            simulated=found.simulated,
            action=alerting.action_of(one.action) if breach else None,
        )
