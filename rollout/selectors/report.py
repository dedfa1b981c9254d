"""The validation report of an environment as the numbers stand: everything that its page says, read at one moment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hawkops.core.svg import near
from hawkops.core.verdicts import Verdict
from hawkops.history import selectors as history
from hawkops.scripts.models import Run, RunFile
from hawkops.scripts.selectors import FILES
from monitoring.domain import criteria as criteria_domain
from monitoring.domain import numbers as raw
from monitoring.domain.criteria import WINDOW_MOST, Aggregate, Criterion, Purpose
from monitoring.domain.metrics import Kind
from monitoring.selectors.criteria import Evaluated, criteria
from monitoring.selectors.flowing import SLOT, Sides, flow, sides
from monitoring.selectors.judging import judged, over
from monitoring.selectors.sections import rules
from rollout.domain import report as domain
from rollout.domain import validation as validation_domain
from rollout.domain.lines import Measured
from rollout.domain.policy import Need
from rollout.domain.report import (
    Advice,
    Against,
    Beside,
    Chart,
    Decided,
    DeviceClass,
    Happened,
    Hours,
    Line,
    Missing,
    Proof,
    Rail,
    Reading,
    Report,
    Subject,
    Waived,
)
from rollout.domain.runbook import Runbook
from rollout.domain.validation import Critical
from rollout.models import PhaseRun, Release, Waiver
from rollout.selectors import census, critical, flags, guardrail_states, phases, releases, validation
from rollout.selectors import decision as decisions
from rollout.selectors.code import code

HOUR, STEPS = timedelta(hours=1), 96
# as runs name the report in their result, so that the newest one of a release is found
NAME = "validation-report"
SCRIPTS = ("scripts/generate-validation-report.sh", "scripts/post-deployment-validation.sh")
OWN = "Judged beside the runbook's lines"
# what a limit of the same name is drawn at; every other number compares, counts, or is a share of time
HEIGHTS = (Aggregate.P5, Aggregate.P50, Aggregate.P95, Aggregate.P99, Aggregate.MEAN, Aggregate.MAX, Aggregate.RATIO)


def report(environment: str, *, now: datetime, beside: Sequence[Beside] = (), run_id: int | None = None) -> Report:
    """Return the report. `beside` is what health checks and alerts say, `run_id` the run that makes it.

    With a validation under way it is read over its hours, otherwise over as many hours as one takes.
    """
    release = releases.release_running(environment)
    run = decisions.run_judged(release) if release is not None else None
    state = validation.state(release, run, now=now) if release is not None and run is not None else None
    needed = rules()
    hours = _hours(environment, release, run, state, needed.data_for, now)
    book = _book(release)
    lines = _Lines(environment, release, hours, now, needed.missed_most)
    waivers = _waivers(release, now)
    found = lines.of(book, waivers, state)
    decision = decisions.state(release, run, now=now) if release is not None and run is not None else None
    step, missing = _missing(release)
    return Report(
        environment=environment,
        at=now,
        run=run_id,
        subject=_subject(release, run, book),
        hours=hours,
        lines=found,
        beside=tuple(beside),
        measured=tuple(lines.measured.values()),
        missed_most=needed.missed_most,
        proof=_proof(release, lines.measured.values(), needed.missed_most, needed.data_for, environment),
        advice=_advice(decision),
        next_step=step,
        missing=missing,
        rails=_rails(run),
        waivers=tuple(waivers.values()),
        happened=_happened(environment, release, run, now - needed.data_for, now),
        left_out=lines.left_out,
        unreal=lines.synthetic,
    )


@dataclass(frozen=True)
class Kept:
    """A report that a run has kept, and its files without their contents: the page first."""

    run: Run
    files: tuple[RunFile, ...]


def newest(release: Release) -> Kept | None:
    """Return a release's newest report; None before the first. Two queries."""
    runs = Run.objects.filter(environment=release.environment, script__in=SCRIPTS, dry_run=False)
    of_release = [{"name": NAME, "release": str(release.pk)}]
    run = runs.filter(results__contains=of_release, files__isnull=False).prefetch_related(FILES).first()
    if run is None:
        return None
    files = [one for one in run.files.all() if one.name.startswith(NAME)]
    return Kept(run, tuple(sorted(files, key=lambda one: one.name))) if files else None


# ---- what is judged ----


class _Lines:
    """The lines of the validation, each criterion read once; `measured` are their raw numbers by criterion."""

    def __init__(
        self, environment: str, release: Release | None, hours: Hours, now: datetime, missed_most: float
    ) -> None:
        self.environment, self.release, self.hours, self.now = environment, release, hours, now
        self.missed_most = missed_most
        self.live = timedelta(seconds=hours.live_seconds)
        stored = criteria(purposes=[Purpose.VALIDATION])
        window = min(WINDOW_MOST, max(1, -(-(now - hours.since) // HOUR)) * HOUR)
        wanted = [one if one.broken else over(one, window) for one in stored]
        first = None
        if release is not None:
            started = PhaseRun.objects.filter(release=release).order_by("pk").values_list("started_at", flat=True)
            first = started.first()
        looked = judged(environment, wanted, now=now, released_at=first)
        self.left_out, self.synthetic = looked.left_out, looked.synthetic
        self.evaluated = {one.criterion.key: one for one in looked.lines}
        self.measured: dict[str, Measured] = {
            key: decisions.measured(one, release, synthetic=looked.synthetic) for key, one in self.evaluated.items()
        }
        self.readings = {
            key: domain.judged(one, now=now, missed_most=missed_most, live=self.live)
            for key, one in self.measured.items()
        }
        self.drawn = self._drawn(wanted)

    def _drawn(self, wanted: Iterable[Criterion]) -> Mapping[str, Sides]:
        classes = {key: one.device_class.rpartition(" ")[0] for key, one in self.readings.items() if one.device_class}
        since = self.now - timedelta(seconds=self.hours.needed_seconds)
        known = [one for one in wanted if not one.broken]
        return sides(self.environment, known, since=since, until=self.now, steps=STEPS, classes=classes)

    def of(
        self, book: Runbook | None, waivers: Mapping[str, Waived], state: validation.State | None
    ) -> tuple[Line, ...]:
        """Return the runbook's lines, and after them what the team judges beside them."""
        on_page = {row.box.key: row for group in (state.groups if state else ()) for row in group.rows}
        made: list[Line] = []
        used: set[str] = set()
        for group in book.validation if book else ():
            for box in group.boxes:
                used.update(box.criteria)
                row = on_page.get(box.key)
                made.append(
                    Line(
                        key=box.key,
                        part=group.title.rpartition(": ")[2].capitalize(),
                        title=box.title,
                        means=box.means,
                        readings=tuple(self._reading(key) for key in box.criteria),
                        waived=waivers.get(box.key),
                        page=row.standing.verdict if row is not None and row.standing.in_scope else None,
                    )
                )
        for key, one in self.evaluated.items():
            if key not in used and not one.criterion.paused:
                title = one.criterion.title
                made.append(Line(key, OWN, title, one.criterion.serves, (self._reading(key),), listed=not used))
        return tuple(made)

    def _reading(self, key: str) -> Reading:
        found = self.evaluated.get(key)
        if found is None:
            sentence = "no such criterion is stored; look at the thresholds"
            return Reading(key, key, "", "", True, Verdict.NO_DATA, sentence, "", "")
        reading = self.readings[key]
        drawn = self.drawn.get(key)
        chart = self._chart(found, reading, drawn) if drawn is not None else None
        return replace(reading, chart=chart, classes=tuple(_classes(found)))

    def _chart(self, found: Evaluated, reading: Reading, drawn: Sides) -> Chart | None:
        """Return what is drawn of a reading; None where neither side reported anything."""
        criterion, numbers = found.criterion, self.measured[reading.criterion].numbers
        treatment, control, what = drawn.treatment, drawn.control, "in each step"
        counter = criterion.metric is not None and criterion.metric.kind is Kind.COUNTER and criterion.of is None
        if counter:
            per_hour = HOUR / drawn.step
            other = numbers.other.devices if numbers.other is not None else 0
            treatment = _scaled(treatment, per_hour, numbers.own.devices)
            control = _scaled(control, per_hour, other)
            what = "per device and hour"
        known = [value for value in (*treatment, *control) if value is not None]
        if not known:
            return None
        plain = criterion.aggregate in HEIGHTS and not counter
        low, high, band = None, None, ""
        if criterion.aggregate is Aggregate.RANGE and numbers.usual:
            (low, high), band = raw.normal(numbers.usual), "normal range"
        elif plain and reading.low is not None and reading.high is not None and reading.low != reading.high:
            low, high, band = reading.low, reading.high, "interval"
        width = timedelta(seconds=drawn.step.total_seconds() * max(1, len(treatment) - 1))
        limit = reading.threshold if plain else None
        close = limit is not None and near(known, limit)
        ends = [*known, *([limit] if limit is not None and close else [])]
        return Chart(
            since=drawn.since,
            step_seconds=int(drawn.step.total_seconds()),
            treatment=_short(treatment),
            control=_short(control),
            what=what,
            lowest_shown=_shown(min(known), criterion),
            highest_shown=_shown(max(known), criterion),
            bottom_shown=_shown(min(ends), criterion),
            top_shown=_shown(max(ends), criterion),
            limit=limit,
            limit_shown=reading.target_shown if plain else "",
            limit_near=close,
            low=low,
            high=high,
            band=band,
            begins=(self.hours.since - drawn.since) / width if self.hours.begun else None,
        )


def _classes(found: Evaluated) -> Iterable[DeviceClass]:
    for label, reading, judgement in found.parts:
        wanted = f"≥ {criteria_domain.shown(reading.threshold, found.criterion)}" if reading.threshold else ""
        value = criteria_domain.shown(reading.value, found.criterion) if reading.value is not None else ""
        yield DeviceClass(label, judgement.verdict if reading.threshold is not None else None, value, wanted)


def _scaled(values: Sequence[float | None], per_hour: float, devices: int) -> list[float | None]:
    """Return counts as counts per device and hour; nothing where no device is known."""
    return [value * per_hour / devices if value is not None and devices else None for value in values]


def _short(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None else float(f"{value:.6g}") for value in values)


def _shown(value: float, one: Criterion) -> str:
    """Write a point of a chart: what a comparison is made of, or a value of the criterion."""
    counter = one.metric is not None and one.metric.kind is Kind.COUNTER and one.of is None
    return raw.as_read(value, one) if one.aggregate.compares or counter else criteria_domain.shown(value, one)


# ---- where the release stands ----


def _book(release: Release | None) -> Runbook | None:
    """Return the runbook whose lines are judged: the release's, or the one that the next release will pin."""
    if release is not None:
        return releases.runbook(release)
    latest = releases.runbook_latest()
    return releases.runbook_of(latest) if latest is not None else None


def _hours(
    environment: str, release: Release | None, run: PhaseRun | None, state: validation.State | None,
    needed: timedelta, now: datetime,
) -> Hours:  # fmt: skip
    clock = state.clock if state is not None else None
    if clock is not None and clock.since is not None:
        since = min(now - timedelta(minutes=1), max(clock.since, now - WINDOW_MOST))
        sentence = f"Its validation began on {clock.since:%d %b, %H:%M} UTC: {clock.sentence}"
        seconds, whole = clock.live.total_seconds(), needed.total_seconds()
        return Hours(since, now, seconds, whole, True, clock.done, sentence, clock.expected_at)
    if release is None:
        why = ""
    elif clock is not None:
        why = f"Its validation is held at zero by a critical incident, “{clock.because}”."
    elif run is None:
        why = "No phase has begun."
    else:
        why = f"The validation of phase {run.number} begins when its target percentage is reached."
    since = now - needed
    slots = flow(environment, since=since, until=now).slots
    live = validation_domain.live(slots, width=SLOT, since=since, until=now)
    return domain.hours_without(since, now, live, needed, why=why)


def _subject(release: Release | None, run: PhaseRun | None, book: Runbook | None) -> Subject | None:
    if release is None:
        return None
    made = Subject(
        release=release.pk,
        name=release.name,
        app_version=release.app_version,
        version_code=release.version_code,
        model_name=release.model_name,
        model_digest=release.model_digest,
        backends=tuple(release.backends),
        runbook=release.runbook.version,
        running=release.running,
        phases=len(book.phases) if book else 0,
    )
    if run is None:
        return made
    phase = phases.phase_of(release, run.number)
    return replace(
        made,
        phase=run.number,
        phase_title=phase.title if phase else "",
        phase_state=run.state,
        percent=run.percent,
        devices=census.reach(release.environment, phase.flag) if phase else None,
        started_at=run.started_at,
    )


def _advice(found: decisions.State | None) -> Advice | None:
    if found is None:
        return None
    against = tuple(
        Against(one.line.title if one.line else "Nothing is judged", one.said, one.row.follows.value, one.row.runbook)
        for one in found.recommended.against
    )
    return Advice(found.recommended.recommendation.label, against)


def _missing(release: Release | None) -> tuple[str, tuple[Missing, ...]]:
    """Say what comes next on the walk, and return what is missing for it."""
    coming = phases.next_of(release) if release is not None else None
    if coming is None:
        return "", ()
    lacks = tuple(Missing(one.title, _brief(one), one.have, one.verdict) for one in coming.decision.missing)
    where = f"start phase {coming.phase.number}, {coming.phase.title.lower()}" if coming.phase else "complete the walk"
    count = len(lacks)
    said = f"{count} {'thing is' if count == 1 else 'things are'} missing" if lacks else "nothing is missing"
    return f"To {where}, {said}.", lacks


def _brief(one: Need) -> str:
    """Say what a need lacks; the recommendation's reasons stand in the report by themselves."""
    return "Going on against it takes a reason." if one.key == "recommendation" else one.sentence


def _rails(run: PhaseRun | None) -> tuple[Rail, ...]:
    if run is None:
        return ()
    return tuple(
        Rail(
            row.guardrail.key,
            row.guardrail.title,
            row.guardrail.does,
            Verdict(row.state.verdict) if row.state else Verdict.NO_DATA,
            row.state.sentence if row.state else "Not looked at yet.",
            row.state.looked_at if row.state else None,
        )
        for row in guardrail_states.rows(run)
    )


def _waivers(release: Release | None, now: datetime) -> dict[str, Waived]:
    if release is None:
        return {}
    titles = {box.key: box.title for _, box in releases.runbook(release).boxes()}
    return {
        one.box: Waived(one.box, titles.get(one.box, one.box), one.reason, one.owner, one.by, one.expires_at)
        for one in Waiver.objects.filter(release=release, expires_at__gt=now).order_by("box")
    }


def _happened(
    environment: str, release: Release | None, run: PhaseRun | None, without: datetime, now: datetime
) -> tuple[Happened, ...]:
    """Return incidents and rollbacks since the phase began; without a phase, incidents of the time that is read."""
    since = run.started_at if run is not None else without
    found = [_incident(one) for one in critical.critical_incidents(environment, since) if one.opened_at <= now]
    if release is not None and run is not None:
        rolled = decisions.rollbacks(release, since, now)
        found += [Happened("rollback", one.title, one.at, None, one.entry) for one in rolled]
    return tuple(sorted(found, key=lambda one: one.at))


def _incident(one: Critical) -> Happened:
    return Happened("critical incident", one.title, one.opened_at, one.ended_at)


def _proof(
    release: Release | None, measured: Iterable[Measured], missed_most: float, needed: timedelta, environment: str
) -> Proof:
    head, judging = history.head(), code()
    made = decisions.decisions(release) if release is not None else ()
    book = release.runbook if release is not None else releases.runbook_latest()
    return Proof(
        history_seq=head.seq,
        history_hash=head.hash,
        thresholds_sha256=domain.thresholds_digest(measured, missed_most=missed_most, needed=needed),
        code_version=judging["version"],
        code_sha256=judging["judging"],
        runbook_sha256=book.digest if book is not None else "",
        flag_revision=flags.revision(environment),
        decisions=tuple(
            Decided(one.pk, one.number, one.recommendation, one.decided, one.by, one.at, one.digest) for one in made
        ),
    )
