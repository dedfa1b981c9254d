"""The life of an alert: inactive → pending → firing → acknowledged → resolved, as a table of moves. Pure.

Silence never resolves an alert: without data it stays as it is, and the missing data is an alert of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from hawkops.core.verdicts import Verdict
from monitoring.domain.criteria import Purpose, Severity

# How often everything is looked at.
EVERY = timedelta(seconds=10)
# How long it must be well before an alert resolves: a reading that hovers at its limit would page again and again.
WELL_FOR = timedelta(seconds=60)
# How long a metric that had reported must be silent before that is an alert of its own.
SILENT_FOR = timedelta(minutes=5)
# How old the newest look at an environment may be; older, and whoever watches the evaluation raises the alarm.
LATE_AFTER = timedelta(seconds=60)
# So many times within the hour, and it flaps.
FLAPS, FLAP_SPAN = 3, timedelta(hours=1)
# What concerns the whole installation (its own checks, its files, its history) stands once, in this environment.
OWNER = "production"
NO_DATA_SUFFIX = ":no-data"
# Devices count these; patterns that are ticked as suspicious stand beside it.
SUSPICIOUS = "security.suspicious_events"


class State(StrEnum):
    """Where an alert stands."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """What is wrong: a limit is missed, or nothing is heard any more."""

    BREACH = "breach"
    NO_DATA = "no data"


class Source(StrEnum):
    """Who says that something is wrong."""

    TELEMETRY = "telemetry"
    CRITERION = "criterion"
    HEALTH = "health"
    PATTERN = "pattern"
    LOGS = "log reading"
    WATCH = "watch"
    ALERTMANAGER = "alertmanager"


class Action(StrEnum):
    """What the runbook wants done when a security metric is broken; incidents carry it out."""

    TELL_SECURITY = "tell_security"
    INVESTIGATE = "investigate"
    CRITICAL_ALERT = "critical_alert"
    SECURITY_REVIEW = "security_review"

    @property
    def label(self) -> str:
        """The runbook's words."""
        return _WORDS[self]


_WORDS = {
    Action.TELL_SECURITY: "tell the security team",
    Action.INVESTIGATE: "investigate at once",
    Action.CRITICAL_ALERT: "critical alert",
    Action.SECURITY_REVIEW: "security review",
}


def action_of(words: str) -> Action | None:
    """Return the action that a criterion names, by its value or in the runbook's words; None for any other advice."""
    return next((one for one in Action if words.strip().lower() in (one.value, one.label)), None)


# What may follow what; dropping a pending alert that never fired is no move, it simply was nothing.
MOVES = {
    State.PENDING: (State.FIRING,),
    State.FIRING: (State.ACKNOWLEDGED, State.RESOLVED),
    State.ACKNOWLEDGED: (State.FIRING, State.RESOLVED),
    State.RESOLVED: (),
}


class Sign(StrEnum):
    """What one look says of a kind of alert."""

    BAD = "bad"
    WELL = "well"
    UNKNOWN = "unknown"


Identity = tuple[str, str, str]


@dataclass(frozen=True)
class Look:
    """One look at one kind of one alert.

    `from_telemetry` is false for what is measured here: silence of the devices explains nothing about it. `of_treatment`:
    it reads only devices that LiteRT is served to.
    """

    source: Source
    key: str
    kind: Kind
    title: str
    severity: Severity
    group: str
    sign: Sign
    sentence: str
    data_at: datetime | None = None
    for_: timedelta = timedelta()
    metric: str = ""
    backends: tuple[str, ...] = ()
    purpose: Purpose | None = None
    from_telemetry: bool = False
    of_treatment: bool = False
    simulated: bool = False
    action: Action | None = None

    @property
    def identity(self) -> Identity:
        """What tells it from every other alert of its environment."""
        return self.source.value, self.key, self.kind.value


@dataclass(frozen=True)
class Episode:
    """An alert as it stands. `well_at` is the first of the good looks that came without a break; None when none did."""

    state: State
    since: datetime
    well_at: datetime | None = None
    acknowledged_until: datetime | None = None


class Move(StrEnum):
    """What to do now."""

    NONE = "none"
    BEGIN = "begin"
    STILL_BAD = "still bad"
    RECOVER = "recover"
    LOSE_SIGHT = "lose sight"
    FIRE = "fire"
    FIRE_AT_ONCE = "fire at once"
    DROP = "drop"
    RESOLVE = "resolve"
    PAGE_AGAIN = "page again"


def sign(kind: Kind, verdict: Verdict, *, silent_for: timedelta | None, in_scope: bool = True) -> Sign:
    """Say what a verdict means for a kind of alert. `silent_for` is the age of the newest data, None without any ever.

    What is out of scope is well: no device is left that it could be said of.
    """
    if not in_scope:
        return Sign.WELL
    if kind is Kind.NO_DATA:
        if silent_for is None:
            return Sign.UNKNOWN
        return Sign.BAD if silent_for >= SILENT_FOR else Sign.WELL
    if verdict is Verdict.FAIL:
        return Sign.BAD
    return Sign.WELL if verdict is Verdict.PASS else Sign.UNKNOWN


def step(episode: Episode | None, seen: Sign, *, for_: timedelta, now: datetime) -> Move:
    """Return the move that a look leads to. A pending alert without a reading begins anew: silence is no breach."""
    if episode is None or episode.state is State.RESOLVED:
        if seen is not Sign.BAD:
            return Move.NONE
        return Move.BEGIN if for_ else Move.FIRE_AT_ONCE
    if episode.state is State.PENDING:
        if seen is not Sign.BAD:
            return Move.DROP
        return Move.FIRE if now - episode.since >= for_ else Move.STILL_BAD
    if seen is Sign.WELL:
        if episode.well_at is None:
            return Move.RECOVER
        return Move.RESOLVE if now - episode.well_at >= WELL_FOR else Move.NONE
    if episode.state is State.ACKNOWLEDGED and episode.acknowledged_until and now >= episode.acknowledged_until:
        return Move.PAGE_AGAIN
    if seen is Sign.BAD:
        return Move.STILL_BAD
    return Move.LOSE_SIGHT if episode.well_at is not None else Move.NONE


def flapping(fired: list[datetime], now: datetime) -> bool:
    """Say whether an alert fired so often lately that its limit, not the fleet, is the news."""
    return sum(now - at <= FLAP_SPAN for at in fired) >= FLAPS


def promise(window: timedelta, for_: timedelta) -> timedelta:
    """Return the longest time from a lasting breach to its alert: the window is full of it, it lasted, it was looked at."""
    return window + for_ + EVERY


# ---- groups ----

TELEMETRY, LITERT, APP, SECURITY = "telemetry", "litert", "app", "security"
HEALTH, LOG_PATTERNS, ALERTMANAGER = "health", "log patterns", "am:"
_TITLES = {
    TELEMETRY: "Telemetry",
    LITERT: "LiteRT",
    APP: "The app",
    SECURITY: "Security",
    HEALTH: "Health",
    LOG_PATTERNS: "Log patterns",
    "": "Other",
}


def group_of(*, purpose: Purpose, metric: str, backends: tuple[str, ...]) -> str:
    """Return the group of a criterion's alert: those of one cause stand together."""
    if purpose is Purpose.SECURITY:
        return SECURITY
    if metric.startswith(("litert.", "gen_ai.")):
        return f"{LITERT}:{backends[0]}" if len(backends) == 1 else LITERT
    return APP


def group_title(group: str) -> str:
    """Return a group's heading."""
    if group.startswith(ALERTMANAGER):
        return f"Alertmanager {group.removeprefix(ALERTMANAGER)}".strip()
    if group.startswith(f"{LITERT}:"):
        return f"LiteRT on {group.partition(':')[2].upper()}"
    return _TITLES.get(group, group)


# ---- silences ----


def name_of(source: str, key: str, kind: str) -> str:
    """Return what a silence calls an alert: its key; for the missing data of a rule, its key and `:no-data`."""
    has_both = source in (Source.CRITERION, Source.HEALTH)
    return f"{key}{NO_DATA_SUFFIX}" if has_both and kind == Kind.NO_DATA else key


def hides(
    *, pattern: str, of_severity: str, of_alertname: str, name: str, severity: str, alertname: str
) -> bool:  # fmt: skip
    """Say whether a silence hides an alert; what it leaves empty may be anything.

    An alert on missing data is hidden only by a pattern that ends with `:no-data` itself.
    """
    if pattern and not (
        pattern.endswith(NO_DATA_SUFFIX) == name.endswith(NO_DATA_SUFFIX) and fnmatchcase(name, pattern)
    ):
        return False
    if not pattern and name.endswith(NO_DATA_SUFFIX):
        return False
    if of_severity and of_severity != severity:
        return False
    return not of_alertname or fnmatchcase(alertname, of_alertname)


def too_wide(pattern: str) -> bool:
    """Say whether a pattern with wildcards names nothing: fewer than three letters or digits together."""
    if not set(pattern) & set("*?"):
        return False
    longest = run = 0
    for character in pattern.removesuffix(NO_DATA_SUFFIX):
        run = run + 1 if character.isalnum() else 0
        longest = max(longest, run)
    return longest < 3
