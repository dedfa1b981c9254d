"""Reading log patterns: what they counted, what they matched last, how far each source was read, what one would match."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.db.models import Max, Q, QuerySet, Sum

from hawkops.core import clock
from monitoring import logfiles
from monitoring.domain import patterns as domain
from monitoring.domain.alerting import OWNER
from monitoring.domain.criteria import spoken
from monitoring.domain.patterns import EVERYWHERE, FILES, Pattern, Source
from monitoring.domain.windows import Choice, Window
from monitoring.models import LogCursor, LogLine, PatternCount, PatternSample, StoredPattern
from monitoring.selectors.telemetry import may_judge

Row = TypeVar("Row", PatternCount, PatternSample)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(hours=24), timedelta(minutes=1)
TRIED_LINES = 10_000
TRIED_SECONDS = 2.0
SAMPLES_SHOWN = 3
# A scan comes every ten seconds.
LATE = timedelta(minutes=1)
# Steps are whole minutes: that is what is counted.
WINDOWS = (
    Choice("24h", "24 h", timedelta(hours=24), timedelta(minutes=15), 10_000),
    Choice("1h", "1 h", timedelta(hours=1), timedelta(minutes=1), 5_000),
    Choice("6h", "6 h", timedelta(hours=6), timedelta(minutes=5), 10_000),
    Choice("7d", "7 d", timedelta(days=7), timedelta(hours=2), 30_000),
)


@dataclass(frozen=True)
class Shown:
    """A pattern as the list shows it. `real` and `simulated` counts are together in the numbers."""

    row: StoredPattern
    pattern: Pattern
    last_hour: int
    last_day: int
    in_window: int
    samples: list[PatternSample]

    @property
    def over(self) -> bool:
        """Whether its limit is reached now."""
        limit = self.pattern.limit
        return limit is not None and not self.pattern.paused and self.in_window >= limit


@dataclass(frozen=True)
class Breach:
    """How a pattern that alerts stands to its limit now."""

    pattern: Pattern
    count: int
    simulated: bool
    last_at: datetime | None
    # sources that are not read just now: what stands there is not counted
    blind: tuple[Source, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether there are as many matches as the limit says, or more."""
        return self.pattern.limit is not None and self.count >= self.pattern.limit

    @property
    def sentence(self) -> str:
        """Say it with its numbers."""
        lines = "1 line matches" if self.count == 1 else f"{self.count} lines match"
        sentence = f"{lines} within {spoken(self.pattern.window)}, limit {self.pattern.limit}"
        return f"{sentence}; not read just now: {', '.join(self.blind)}" if self.blind else sentence


@dataclass(frozen=True)
class Trial:
    """What an expression finds in the newest lines of one source."""

    source: Source
    matched: int
    looked: int
    trouble: str = ""


@dataclass(frozen=True)
class ReadState:
    """How a source is read now; `why` says why it is not, and is empty when it is."""

    source: Source
    read_at: datetime | None
    why: str


@dataclass(frozen=True)
class SourceState:
    """A source, where it stands, and how far it was read. `unread` is in bytes of a file, in lines of devices."""

    source: Source
    where: str
    read_at: datetime | None
    trouble: str
    position: int
    unread: int
    now: datetime

    @property
    def is_file(self) -> bool:
        """Whether it is a file of this installation."""
        return self.source in FILES

    @property
    def late(self) -> bool:
        """Whether the scan has stopped: nobody looked for a while."""
        return self.read_at is not None and self.now - self.read_at > LATE

    @property
    def there(self) -> bool:
        """Whether it can be read, and is."""
        return self.read_at is not None and not self.trouble and not self.late


def path_of(source: Source) -> Path:
    """Return where a file stands by the settings."""
    return Path(settings.LOG_APP_FILE if source is Source.APP_LOG else settings.LOG_SECURITY_FILE)


def stored(key: str = "") -> list[tuple[StoredPattern, Pattern]]:
    """Return every pattern that can be read, or the one of that key, in the order in which they were made. One query."""
    found = []
    for row in StoredPattern.objects.filter(key=key) if key else StoredPattern.objects.all():
        try:
            found.append((row, domain.pattern(row.document)))
        except domain.Unfit:
            continue
    return found


def shown(environment: str, key: str = "", *, now: datetime | None = None) -> list[Shown]:
    """Return every pattern, or the one of that key, with its counts and newest samples. Three queries, two for each."""
    now = now or clock.now()
    hour, day = (_totals(environment, now - span) for span in (HOUR, DAY))
    return [
        Shown(
            row,
            one,
            hour.get(row.pk, 0),
            day.get(row.pk, 0),
            sum(_counted(environment, one, row.pk, now)),
            samples(row, environment, limit=SAMPLES_SHOWN),
        )
        for row, one in stored(key)
    ]


def read_at(environment: str, sources: Sequence[Source]) -> datetime | None:
    """Return when any of these sources was read last; None before the first time. One query."""
    cursors = LogCursor.objects.filter(source__in=[source.value for source in sources], trouble="")
    looked = cursors.filter(environment__in=(environment, EVERYWHERE)).exclude(read_at=None)
    return looked.order_by("-read_at").values_list("read_at", flat=True).first()


def samples(row: StoredPattern, environment: str, *, limit: int = domain.SAMPLES_KEPT) -> list[PatternSample]:
    """Return the newest lines that matched, newest first. One query."""
    return list(_here(PatternSample.objects.filter(pattern=row), environment).order_by("-at", "-id")[:limit])


def breaches(environment: str, *, now: datetime) -> list[Breach]:
    """Return how every pattern that alerts stands. Four queries, however many there are.

    Lines of this installation's files belong to no environment and count where its own alerts stand.
    """
    wanted = [(row.pk, one) for row, one in stored() if one.limit is not None and not one.paused]
    if not wanted:
        return []
    where = [environment, EVERYWHERE] if environment == OWNER else [environment]
    within = reduce(or_, (Q(pattern=pk, minute_at__gt=now - one.window - MINUTE) for pk, one in wanted))
    rows = PatternCount.objects.filter(within, environment__in=where).values_list("pattern", "simulated")
    counts = {(pk, simulated): total for pk, simulated, total in rows.annotate(total=Sum("count"))}
    samples = PatternSample.objects.filter(pattern__in=[pk for pk, _ in wanted], environment__in=where)
    newest = dict(samples.values_list("pattern").annotate(newest=Max("at")))
    unread = {one.source for one in read_states(environment, now=now) if one.why}
    judged = may_judge(environment, simulated=True)
    found = []
    for pk, one in wanted:
        real, simulated = counts.get((pk, False), 0), counts.get((pk, True), 0) if judged else 0
        blind = tuple(source for source in one.sources if source in unread)
        found.append(Breach(one, real + simulated, simulated > 0 and real == 0, newest.get(pk), blind))
    return found


def suspicious() -> list[Pattern]:
    """Return the patterns whose matches count as suspicious processing. One query."""
    return [one for _, one in stored() if one.suspicious and not one.paused]


def scanned_at() -> datetime | None:
    """Return when any source was looked at last; None before the first scan. One query."""
    looked = LogCursor.objects.exclude(read_at=None).order_by("-read_at")
    return looked.values_list("read_at", flat=True).first()


def read_states(environment: str, *, now: datetime) -> list[ReadState]:
    """Return how each source that counts in an environment is read. One query.

    A file that never was there is no trouble: this installation has none.
    """
    where = [environment, EVERYWHERE] if environment == OWNER else [environment]
    found = []
    for cursor in LogCursor.objects.filter(environment__in=where).exclude(read_at=None).order_by("pk"):
        why = ""
        if cursor.read_at is not None and now - cursor.read_at > LATE:
            why = f"nobody looked for {(now - cursor.read_at).total_seconds():.0f} s"
        elif cursor.trouble and (cursor.inode or cursor.trouble != logfiles.NOT_THERE):
            why = cursor.trouble
        found.append(ReadState(Source(cursor.source), cursor.read_at, why))
    return found


def series(row: StoredPattern, environment: str, window: Window, *, simulated: bool) -> list[int]:
    """Return the matches in each step of a window. One query."""
    counts = [0] * window.steps
    rows = _here(PatternCount.objects.filter(pattern=row, simulated=simulated), environment)
    for minute_at, count in rows.filter(minute_at__gte=window.since).values_list("minute_at", "count"):
        position = window.index(minute_at)
        if 0 <= position < window.steps:
            counts[position] += count
    return counts


def sources(environment: str) -> list[SourceState]:
    """Return the state of each source as an environment sees it. Two queries."""
    now = clock.now()
    cursors = {
        Source(cursor.source): cursor for cursor in LogCursor.objects.filter(environment__in=(environment, EVERYWHERE))
    }
    found = []
    for source in Source:
        cursor = cursors.get(source) or LogCursor(source=source.value)
        if source in FILES:
            where, position = str(path_of(source)), cursor.offset
            unread = max(0, cursor.size - cursor.offset)
        else:
            where, position = f"from devices in {environment}", cursor.line_id
            unread = LogLine.objects.filter(environment=environment, pk__gt=cursor.line_id).count()
        found.append(SourceState(source, where, cursor.read_at, cursor.trouble, position, unread, now))
    return found


def trials(environment: str, expression: str, sources: Sequence[Source]) -> list[Trial]:
    """Try an expression over the newest lines of each source. Raises Unfit; stops after some seconds."""
    matcher = domain.matcher(expression)
    until = time.monotonic() + TRIED_SECONDS
    found = []
    for source in sources:
        try:
            lines = _newest(environment, source)
        except OSError as error:
            found.append(Trial(source, 0, 0, "not there" if isinstance(error, FileNotFoundError) else str(error)))
            continue
        matched = looked = 0
        for line in lines:
            if looked % 100 == 0 and time.monotonic() > until:
                break
            looked += 1
            matched += matcher.matches(line)
        found.append(Trial(source, matched, looked))
    return found


def text_of(event_name: str, body: str, exception_type: str, exception_message: str) -> str:
    """Return what patterns see of a device's log line: all its words, each once."""
    parts = [event_name]
    if body:
        parts.append(body)
    parts += [part for part in (exception_type, exception_message) if part and part not in body]
    return " ".join(part for part in parts if part)


def _newest(environment: str, source: Source) -> Iterable[str]:
    """Return the newest lines, newest first. Raises OSError when a file can't be read."""
    if source is not Source.DEVICE_LOGS:
        return reversed(logfiles.tail(path_of(source), TRIED_LINES))
    names = ("event_name", "body", "exception_type", "exception_message")
    rows = LogLine.objects.filter(environment=environment).order_by("-pk").values_list(*names)[:TRIED_LINES]
    return (text_of(*row) for row in rows)


def _here(rows: QuerySet[Row], environment: str) -> QuerySet[Row]:
    return rows.filter(Q(environment=environment) | Q(environment=EVERYWHERE))


def _totals(environment: str, since: datetime) -> dict[int, int]:
    rows = _here(PatternCount.objects.filter(minute_at__gt=since - MINUTE), environment)
    return dict(rows.values_list("pattern").annotate(total=Sum("count")).values_list("pattern", "total"))


def _counted(environment: str, one: Pattern, pk: int, now: datetime) -> tuple[int, int]:
    """Count real and simulated matches within a pattern's window; the minute that it begins in counts whole."""
    rows = _here(PatternCount.objects.filter(pattern=pk, minute_at__gt=now - one.window - MINUTE), environment)
    found = dict(rows.values_list("simulated").annotate(total=Sum("count")).values_list("simulated", "total"))
    return found.get(False, 0), found.get(True, 0)
