"""The clock of the newest kill in earnest: what is stored of it, and who was told of it with which receipt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.history import selectors as history
from hawkops.history.models import HistoryEntry
from incidents.domain.kill_clock import LIMIT, SHARES, Judged, State, Step, judged, kill_revision, wanted, written
from incidents.domain.news import DRILL, KILLED
from incidents.domain.retrying import State as Sent
from incidents.domain.routing import Topic
from incidents.models import Channel, Delivery, Dispatch, KillClock
from rollout.selectors import census

# how long a kill and its clock are the first thing to see
KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Told:
    """One channel that was told of the kill, with its receipt."""

    delivery: Delivery
    channel: str
    kind: str
    state: str
    at: datetime | None
    answer: str

    @property
    def sent(self) -> bool:
        """Whether the other side accepted it."""
        return self.state == Sent.SENT


@dataclass(frozen=True)
class Line:
    """One step as pages show it. `css` is reached, late, over, ahead or none."""

    step: Step
    at: datetime | None
    after: str
    css: str
    words: str

    @property
    def title(self) -> str:
        """What it is called."""
        return self.step.label


@dataclass(frozen=True)
class Shown:
    """The clock as of `now`, the server's time."""

    row: KillClock
    judged: Judged
    state: State
    now: datetime
    lines: tuple[Line, ...]
    told: tuple[Told, ...]
    # why nobody was told; empty where somebody was, or it is under way
    untold: str

    @property
    def runs(self) -> bool:
        """Whether the five minutes still run."""
        return self.state is State.RUNNING

    @property
    def elapsed(self) -> str:
        """How long it runs, or took."""
        if self.state is State.MET and self.judged.took is not None:
            return written(self.judged.took)
        return written(min(self.now - self.row.pressed_at, KEPT))

    @property
    def took(self) -> str:
        """How long all that counts took; empty while some of it is missing."""
        return written(self.judged.took) if self.judged.took is not None else ""

    @property
    def elapsed_seconds(self) -> float:
        """How long it runs, for the page to go on from."""
        return (self.now - self.row.pressed_at).total_seconds()

    @property
    def limit(self) -> str:
        """What the runbook allows."""
        return written(LIMIT)

    @property
    def late(self) -> list[Line]:
        """What was late, or is still missing after the five minutes."""
        names = {Step(one) for one in self.row.late} or set(self.judged.late)
        return [line for line in self.lines if line.step in names]


def in_earnest(environment: str, *, since: datetime) -> HistoryEntry | None:
    """Return the newest kill that is no drill; None without one. One query."""
    rows = history.entries(environment=environment, verbs=[KILLED], since=since)
    return rows.filter(environment=environment).exclude(reason__startswith=DRILL).order_by("-seq").first()


def clock_of(entry: HistoryEntry) -> KillClock:
    """Return the clock of a kill: the stored one, else one that was not looked at yet."""
    return KillClock.objects.filter(entry=entry.seq).first() or KillClock(
        environment=entry.environment,
        entry=entry.seq,
        revision=kill_revision(entry.after),
        pressed_at=entry.at,
        pressed_by=entry.actor_label,
        reason=entry.reason[:300],
    )


def found(row: KillClock) -> tuple[dict[Step, datetime], int]:
    """Return what has been reached by now, what is stored first, and how many devices are active. Some queries."""
    reached = row.reached
    if row.ended_at is not None:  # what devices obey by now says nothing of it
        return reached, row.devices
    active = census.active_count(row.environment)
    reached.setdefault(Step.PRESSED, row.pressed_at)
    # one atomic change: what was pressed is in force with it
    reached.setdefault(Step.OFF, row.pressed_at)
    if Step.TOLD not in reached and (at := told_at(told(row))) is not None:
        reached[Step.TOLD] = at
    for step, share in SHARES.items():
        if step in reached:
            continue
        obeyed = census.obeyed_share_at(row.environment, row.revision, share)
        if obeyed is None:
            break
        reached[step] = max(obeyed[0], row.pressed_at)
    if Step.SETTLED not in reached and (settled := census.settled_at(row.environment, row.revision)) is not None:
        reached[Step.SETTLED] = max(settled, row.pressed_at)
    return reached, active


def told(row: KillClock) -> tuple[Told, ...]:
    """Return the channels that are told of a kill, those that failed first. Three queries."""
    rows = Delivery.objects.filter(entry=row.entry, channel__environment=row.environment)
    rows = rows.select_related("channel").prefetch_related("receipts").order_by("pk")
    seen = [_told(one) for one in rows]
    return tuple(sorted(seen, key=lambda one: one.sent))


def _told(one: Delivery) -> Told:
    receipts = list(one.receipts.all())
    last = receipts[-1] if receipts else None
    answer = " ".join(str(part) for part in (last.status, last.answer) if part) if last else ""
    at = one.done_at if one.state == Sent.SENT else last.at if last else None
    return Told(one, one.channel.name, one.channel.get_kind_display(), one.state, at, answer[:120])


def told_at(rows: tuple[Told, ...]) -> datetime | None:
    """Return when the last of the channels had accepted it; None while one has not, and where nobody is told."""
    if not rows or not all(one.sent for one in rows):
        return None
    return max(one.at for one in rows if one.at is not None)


def _untold(row: KillClock) -> str:
    """Say why nobody is told of a kill. One or two queries."""
    read = Dispatch.objects.filter(pk=1).values_list("seq", flat=True).first() or 0
    if read < row.entry:
        return ""
    if settings.SLACK_WEBHOOK and row.environment == Environment.PRODUCTION:
        name = Topic.INCIDENTS.runbook
        if not Channel.objects.filter(environment=row.environment, name=name, archived_at=None).exists():
            return "SLACK_WEBHOOK is set, but no channel uses it: manage.py seed makes one."
    return "Nobody is set up to be told: add a channel."


def kill_clock(environment: str) -> Shown | None:
    """Return the clock of the newest kill in earnest of the last day; None without one. A dozen queries."""
    now = clock.now()
    entry = in_earnest(environment, since=now - KEPT)
    if entry is None:
        return None
    row = clock_of(entry)
    reached, devices = found(row)
    if row.state != State.RUNNING:
        devices = row.devices
    said = judged(reached, pressed_at=row.pressed_at, devices=devices, now=now)
    state = State(row.state) if row.state != State.RUNNING else said.state
    rows = told(row)
    untold = "" if rows else _untold(row)
    lines = tuple(_line(step, reached, row, devices, now, state, rows) for step in Step)
    return Shown(row, said, state, now, lines, rows, untold)


def _line(
    step: Step, reached: Mapping[Step, datetime], row: KillClock, devices: int, now: datetime, state: State,
    rows: tuple[Told, ...],
) -> Line:  # fmt: skip
    at = reached.get(step)
    words = _words(step, row, rows)
    if at is None:
        if not devices and (step in SHARES or step is Step.SETTLED):
            return Line(step, None, "", "none", "no device was active")
        late = step in wanted(devices) and now - row.pressed_at > LIMIT
        ahead = "ended: devices may run LiteRT again" if state is State.LIFTED else words
        return Line(step, None, "", "over" if late and state is not State.LIFTED else "ahead", ahead)
    after = at - row.pressed_at
    late = step.counts and after > LIMIT
    return Line(step, at, written(after), "late" if late else "reached", words)


def _words(step: Step, row: KillClock, rows: tuple[Told, ...]) -> str:
    if step is Step.PRESSED:
        return f"by {row.pressed_by}: {row.reason}" if row.reason else f"by {row.pressed_by}"
    if step is Step.OFF:
        return f"one atomic change, revision {row.revision}"
    if step is Step.TOLD and rows:
        return f"{sum(one.sent for one in rows)} of {len(rows)} channels have it"
    if step is Step.SETTLED:
        return "nobody is pending: each obeys, or its lease has ended"
    return ""
