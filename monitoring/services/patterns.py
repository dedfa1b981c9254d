"""Log patterns: seeded from the runbook, edited by people, counted by a scan that reads every line once."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring import logfiles
from monitoring.domain import patterns as domain
from monitoring.domain.criteria import writable
from monitoring.domain.patterns import EVERYWHERE, FILES, Matcher, Source
from monitoring.logfiles import Place
from monitoring.models import LogCursor, PatternCount, PatternSample, StoredPattern
from monitoring.selectors import patterns as selectors
from monitoring.selectors.logs import lines_since
from monitoring.services import pruning

PATTERNS_MOST = 50
# One scan works so long at most; what is left waits for the next.
SCAN_SECONDS = 3.0
KEPT = timedelta(days=30)
# Whoever deletes a pattern waits until what it counted is written; one that is gone is not held.
HOLD = "SELECT id FROM monitoring_storedpattern WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
ADD = """
INSERT INTO monitoring_patterncount (pattern_id, environment, minute_at, simulated, count) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (pattern_id, environment, minute_at, simulated)
DO UPDATE SET count = monitoring_patterncount.count + EXCLUDED.count
"""


# ---- people ----


def patterns_seed(*, actor: Actor) -> int:
    """Take over the runbook's patterns and return how many changed: new ones are added, edited ones stay."""
    taken: dict[str, Any] = {}
    with change(actor=actor, reason="Installation") as this:
        known = {found.key: found for found in StoredPattern.objects.select_for_update(no_key=True)}
        for wanted in domain.RUNBOOK:
            document = domain.document(wanted)
            found = known.get(wanted.key) or StoredPattern(key=wanted.key, revision=0)
            if found.seed == document:
                continue
            if not found.revision or found.document == found.seed:
                found.document = document
            found.seed = document
            _save(found, actor)
            taken[wanted.key] = document
        if taken:
            this.record("patterns.seeded", subject="patterns:runbook", after=taken)
    return len(taken)


def pattern_save(
    *, document: dict[str, Any], actor: Actor, reason: str, expected_revision: int | None = None, request_id: str = ""
) -> StoredPattern:
    """Store a pattern as edited, or a new one. Raises InvalidInput, or Conflict when somebody was faster."""
    fresh = domain.document(_checked(document))
    reason = _reason(reason)
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        found = StoredPattern.objects.select_for_update(no_key=True).filter(key=fresh["key"]).first()
        if found is not None and not expected_revision:
            raise Conflict(f"There is a pattern {found.key} already. Choose another key, or edit that one.")
        if (found.revision if found else 0) != (expected_revision or 0):
            raise Conflict(f"{fresh['key']} was changed meanwhile. Look at what stands now, then save again.")
        before = found.document if found else None
        if before == fresh:
            raise InvalidInput("Nothing differs from what stands now.")
        if found is None:
            if StoredPattern.objects.count() >= PATTERNS_MOST:
                raise InvalidInput(f"There are {PATTERNS_MOST} patterns already; delete one that nobody needs.")
            found = StoredPattern(key=fresh["key"], revision=0)
        found.document = fresh
        _save(found, actor)
        verb = "pattern.changed" if before else "pattern.created"
        this.record(verb, subject=f"pattern:{found.key}", before=before, after=fresh)
        announce("patterns", EVERYWHERE)
    return found


def pattern_pause(*, key: str, paused: bool, actor: Actor, reason: str, request_id: str = "") -> StoredPattern:
    """Stop counting a pattern, or go on; lines that come while it is paused are not counted later."""
    reason = _reason(reason)
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        found = _found(key)
        if bool(found.document.get("paused")) == paused:
            raise Conflict(f"{key} is {'paused' if paused else 'not paused'} already.")
        before = found.document
        found.document = {**before, "paused": paused}
        _save(found, actor)
        verb = "pattern.paused" if paused else "pattern.resumed"
        this.record(verb, subject=f"pattern:{key}", before=before, after=found.document)
        announce("patterns", EVERYWHERE)
    return found


def pattern_delete(*, key: str, actor: Actor, reason: str, request_id: str = "") -> None:
    """Delete a team's own pattern with its counts and samples; one of the runbook can only be paused."""
    reason = _reason(reason)
    with change(actor=actor, reason=reason, request_id=request_id) as this:
        found = _found(key, whole=True)
        if found.seed is not None:
            raise InvalidInput(f"{key} stands in the runbook: pause it instead.")
        before = found.document
        found.delete()
        this.record("pattern.deleted", subject=f"pattern:{key}", before=before, after=None)
        announce("patterns", EVERYWHERE)


def counts_prune(*, now: datetime | None = None) -> int:
    """Drop counts past their retention."""
    return pruning.rows_drop(PatternCount, "minute_at", (now or clock.now()) - KEPT)


def _found(key: str, *, whole: bool = False) -> StoredPattern:
    """Lock a pattern; `whole` also keeps scans from counting into it."""
    found = StoredPattern.objects.select_for_update(no_key=not whole).filter(key=key).first()
    if found is None:
        raise NotFound(f"There is no pattern {key!r}.")
    return found


def _reason(reason: str) -> str:
    if not reason.strip():
        raise InvalidInput("Say why: the reason stands in the history.")
    if not writable(reason.strip()):
        raise InvalidInput("The reason has a character that can't be stored: a control character.")
    return reason.strip()[:300]


def _checked(document: dict[str, Any]) -> domain.Pattern:
    try:
        return domain.pattern(document)
    except domain.Unfit as unfit:
        raise InvalidInput(f"{unfit}.") from unfit


def _save(found: StoredPattern, actor: Actor) -> None:
    found.revision += 1
    found.changed_at, found.changed_by = clock.now(), actor.label
    found.save()


# ---- the scan ----


@dataclass(frozen=True)
class _Line:
    """One line to match, and how the cursor stands behind it."""

    text: str
    at: datetime
    behind: dict[str, Any]
    device_id: str = ""
    simulated: bool = False


@dataclass(frozen=True)
class _Batch:
    """What one read of a source gave. `stand` is how the cursor stands when all of it is taken."""

    lines: list[_Line]
    stand: dict[str, Any]
    more: bool


def patterns_scan(*, seconds: float = SCAN_SECONDS) -> int:
    """Read on in every source, in turns until all is read or the time is over; return how many lines were taken.

    Nothing is counted twice: counts, samples and the cursor move in one transaction, and only from where it stood.
    """
    until = time.monotonic() + seconds
    matchers = _matchers()
    waiting = _cursors()
    taken = 0
    while waiting:
        still = []
        for cursor in waiting:
            count, more = _source_scan(cursor, matchers, until)
            taken += count
            if more:
                still.append(cursor)
        waiting = still if time.monotonic() < until else []
    return taken


def _matchers() -> dict[Source, list[tuple[int, Matcher]]]:
    found: dict[Source, list[tuple[int, Matcher]]] = defaultdict(list)
    for row, one in selectors.stored():
        if not one.paused:
            for source in one.sources:
                found[source].append((row.pk, domain.matcher(one.expression)))
    return found


def _cursors() -> list[LogCursor]:
    wanted = [(source.value, EVERYWHERE) for source in FILES]
    wanted += [(Source.DEVICE_LOGS.value, environment.value) for environment in Environment]
    known = {(cursor.source, cursor.environment): cursor for cursor in LogCursor.objects.all()}
    if missing := [
        LogCursor(source=source, environment=where) for source, where in wanted if (source, where) not in known
    ]:
        LogCursor.objects.bulk_create(missing, ignore_conflicts=True)
        known = {(cursor.source, cursor.environment): cursor for cursor in LogCursor.objects.all()}
    return [known[one] for one in wanted]


def _source_scan(
    cursor: LogCursor, matchers: dict[Source, list[tuple[int, Matcher]]], until: float
) -> tuple[int, bool]:
    """Take one batch of a source; return how many lines, and whether there are more to take by this scan."""
    source, now = Source(cursor.source), clock.now()
    batch = _device_batch(cursor) if source is Source.DEVICE_LOGS else _file_batch(cursor, source, now)
    counts: Counter[tuple[int, datetime, bool]] = Counter()
    kept: dict[int, deque[PatternSample]] = defaultdict(lambda: deque(maxlen=domain.SAMPLES_KEPT))
    taken, stand = 0, batch.stand
    for line in batch.lines:
        if taken and time.monotonic() > until:
            stand = {**stand, **batch.lines[taken - 1].behind}
            break
        taken += 1
        for pk, matcher in matchers[source]:
            if matcher.matches(line.text):
                counts[pk, line.at.replace(second=0, microsecond=0), line.simulated] += 1
                kept[pk].append(_sample(cursor, pk, line))
    moved = _write(cursor, stand, counts, [one for few in kept.values() for one in few], now)
    return (taken, batch.more and taken == len(batch.lines)) if moved else (0, False)


def _device_batch(cursor: LogCursor) -> _Batch:
    rows = lines_since(cursor.line_id, environment=cursor.environment)
    lines = [
        _Line(
            selectors.text_of(row.event_name, row.body, row.exception_type, row.exception_message),
            row.received_at,
            {"line_id": row.pk},
            row.device_id,
            row.simulated,
        )
        for row in rows
    ]
    return _Batch(lines, {"line_id": rows[-1].pk if rows else cursor.line_id}, bool(rows))


def _file_batch(cursor: LogCursor, source: Source, now: datetime) -> _Batch:
    path = selectors.path_of(source)
    place: Place | None = Place(cursor.inode, cursor.offset, cursor.head_bytes, cursor.head_digest)
    if cursor.read_at is None or cursor.path != str(path):
        place = None
    chunk = logfiles.read_on(path, place)
    said = {"path": str(path), "size": chunk.size, "trouble": chunk.trouble[:300]}
    lines = [_Line(one.text, now, _stand(one.end)) for one in chunk.lines]
    return _Batch(lines, {**said, **_stand(chunk.place)}, chunk.more)


def _stand(place: Place) -> dict[str, Any]:
    return {
        "inode": place.inode,
        "offset": place.offset,
        "head_bytes": place.head_bytes,
        "head_digest": place.head_digest,
    }


def _sample(cursor: LogCursor, pk: int, line: _Line) -> PatternSample:
    return PatternSample(
        pattern_id=pk,
        environment=cursor.environment,
        source=cursor.source,
        at=line.at,
        line=line.text[: domain.SAMPLE_MOST],
        device_id=line.device_id,
        simulated=line.simulated,
    )


def _write(
    cursor: LogCursor,
    stand: dict[str, Any],
    counts: Counter[tuple[int, datetime, bool]],
    samples: list[PatternSample],
    now: datetime,
) -> bool:
    """Move the cursor and add what was counted up to there; False when somebody else moved it first."""
    with transaction.atomic():
        mine = LogCursor.objects.filter(pk=cursor.pk, revision=cursor.revision)
        if mine.update(revision=cursor.revision + 1, read_at=now, **stand) != 1:
            return False
        if counts:
            with connection.cursor() as line:
                line.execute(HOLD, [sorted({pk for pk, _, _ in counts})])
                held = {pk for (pk,) in line.fetchall()}
                where = cursor.environment
                rows = [(pk, where, minute, simulated, count) for (pk, minute, simulated), count in counts.items()]
                line.executemany(ADD, sorted(row for row in rows if row[0] in held))
            PatternSample.objects.bulk_create([sample for sample in samples if sample.pattern_id in held])
            _samples_trim(held, where)
            announce("patterns", where)
    cursor.revision += 1
    cursor.read_at = now
    for name, value in stand.items():
        setattr(cursor, name, value)
    return True


def _samples_trim(patterns: Iterable[int], environment: str) -> None:
    for pk in patterns:
        rows = PatternSample.objects.filter(pattern=pk, environment=environment).order_by("-id")
        PatternSample.objects.filter(pk__in=[*rows.values_list("pk", flat=True)[domain.SAMPLES_KEPT :]]).delete()
