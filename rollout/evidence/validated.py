"""Post-deployment validation: the stored criteria read over the validation's own time, and what concludes a phase."""

from dataclasses import replace
from datetime import datetime, timedelta

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.domain import criteria as domain
from monitoring.domain.criteria import WINDOW_MOST, Criterion
from monitoring.selectors import reasons
from monitoring.selectors.criteria import Evaluated, criteria
from monitoring.selectors.flowing import traces
from monitoring.selectors.judging import judged, over
from rollout.domain.gates import OUT_OF_SCOPE, Finding, Line, Measured, together
from rollout.evidence.runs import ran_newest, said_by
from rollout.evidence.shape import Question
from rollout.models import PhaseRun, Validation
from rollout.selectors import clocks

HOUR = timedelta(hours=1)
POINTS = 48


def criteria_met(asked: Question) -> Finding:
    """Each of the box's criteria passes over the time since the validation's clock began; those of nobody drop out."""
    found = clocks.current(asked.release)
    if found is None:
        return Finding(Verdict.NO_DATA, "The validation begins when a phase has reached its target percentage.")
    subject: dict[str, object] = {"validation": clocks.named(found)}
    if found.since is None:
        return Finding(Verdict.NO_DATA, f"Held by a critical incident: {found.because}.", subject)
    wanted = [over(one, _window(found, asked.now)) for one in criteria(keys=asked.box.criteria)]
    lines = _judged(asked, wanted, found, subject)
    stored = {one.key for one in wanted}
    lines += tuple(
        Line(key, Verdict.NO_DATA, "no such criterion is stored; look at the thresholds")
        for key in asked.box.criteria
        if key not in stored
    )
    counted = [line for line in lines if line.verdict is not None]
    if not counted:
        return Finding(
            Verdict.NO_DATA, f"{_full(lines[0].sentence)}", {**subject, OUT_OF_SCOPE: True}, lines, source="telemetry"
        )
    said = "; ".join(line.sentence if len(counted) == 1 else f"{line.title}: {line.sentence}" for line in counted)
    return Finding(together(counted), _full(said), subject, lines, source="telemetry")


def concluding_script(asked: Question) -> Finding:
    """The script ran once the hours of data were over, and passed with every line that it judged."""
    found = clocks.current(asked.release)
    if found is None or found.concluding_at is None:
        sentence = "Runs by itself when the phase's minimum time and its hours of data are over."
        return Finding(Verdict.NO_DATA, sentence, {"validation": clocks.named(found)} if found else {})
    subject = {"validation": clocks.named(found)}
    ran = ran_newest(asked)
    if ran is None or min(run.requested_at for run in ran.runs) < found.concluding_at:
        return Finding(Verdict.NO_DATA, f"{asked.box.scripts[0]} has not ended since it was due.", subject)
    said = said_by(ran, asked.box.expects)
    return replace(said, subject={**said.subject, **subject})


def _window(found: Validation, now: datetime) -> timedelta:
    """Return the time to read, in whole hours: criteria of one window are read together."""
    assert found.since is not None
    hours = max(1, -(-(now - found.since) // HOUR))
    return min(WINDOW_MOST, hours * HOUR)


def _judged(
    asked: Question, wanted: list[Criterion], found: Validation, subject: dict[str, object]
) -> tuple[Line, ...]:
    """Judge the criteria in the order the box names them, and say where devices are not real."""
    if not wanted:
        return ()
    order = {key: place for place, key in enumerate(asked.box.criteria)}
    released_at = PhaseRun.objects.filter(release=asked.release).order_by("pk").values_list("started_at", flat=True)
    looked = judged(asked.environment, wanted, now=asked.now, released_at=released_at.first())
    if asked.environment == Environment.DEMO and (looked.synthetic or any(one.simulated for one in looked.lines)):
        subject |= {"simulated": True, "simulated_what": "simulated or synthetic devices"}
    assert found.since is not None
    drawn = traces(
        asked.environment, wanted, since=max(found.since, asked.now - WINDOW_MOST), until=asked.now, steps=POINTS
    )
    lines = sorted(looked.lines, key=lambda one: order[one.criterion.key])
    return tuple(_line(asked, one, drawn[one.criterion.key], found.since) for one in lines)


def _line(asked: Question, one: Evaluated, points: list[float | None], since: datetime) -> Line:
    criterion, reading = one.criterion, one.reading
    backends = [name for name in criterion.over.backends if name not in (*asked.release.backends, "cloud")]
    if criterion.over.backends and len(backends) == len(criterion.over.backends):
        sentence = f"not in scope: the release does not declare {', '.join(backends)}"
        return Line(criterion.title, None, sentence)
    why = reasons.of(one, now=asked.now, since=since)
    if not one.judgement.in_scope:
        return Line(criterion.title, None, one.judgement.sentence, why=why)
    bound = criterion.threshold if criterion.threshold is not None else reading.threshold
    value = domain.shown(reading.value, criterion) if reading.value is not None else ""
    target = f"{criterion.comparator.value} {domain.shown(bound, criterion)}" if bound is not None else "the profile"
    measured = Measured(
        value,
        target,
        reading.count,
        criterion.samples,
        tuple(None if point is None else float(f"{point:.6g}") for point in points),
        None if criterion.aggregate.compares else bound,
        criterion.key,
    )
    return Line(criterion.title, one.judgement.verdict, one.judgement.sentence, measured, why)


def _full(sentence: str) -> str:
    """Write a sentence of a judgement as one that stands alone."""
    return f"{sentence[:1].upper()}{sentence[1:]}{'' if sentence.endswith('.') else '.'}"
