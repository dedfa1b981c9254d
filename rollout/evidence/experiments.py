"""A/B testing works: an A/A test has exposed devices to every arm, and each arm got its share."""

from datetime import datetime

from django.db.models import Exists, Max, OuterRef, Q, QuerySet

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.domain.statistics.ratio import sample_ratio
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question
from rollout.models import CensusDevice, Experiment, Exposure
from rollout.selectors.experiments import exposures


def ab_framework(asked: Question) -> Finding:
    """The newest A/A test within the box's span exposed the box's number of devices to its arms as shared out.

    While it runs, whom it exposed counts as long as the device is seen: a test of everybody finds nobody new.
    """
    environment, box = asked.release.environment, asked.box
    since = asked.now - box.valid_for
    alike = [one for one in Experiment.objects.filter(environment=environment) if one.domain().alike]
    lately = [one for one in alike if one.ended_at is None or one.ended_at >= since]
    if not lately:
        return Finding(
            Verdict.NO_DATA,
            f"No A/A test has run in {environment} within {box.valid_for.days} days. Start one on a flag that serves on:"
            " leave the arms' values empty.",
        )
    test = lately[0]
    arms = test.domain().arms
    rows = _lately(test, since)
    counts = [rows.filter(arm=arm.variant).count() for arm in arms]
    ratio = sample_ratio(counts, [arm.weight for arm in arms])
    said = ", ".join(f"{arm.variant} {count}" for arm, count in zip(arms, counts, strict=True))
    subject: dict[str, object] = {"experiment": test.key}
    if environment == Environment.DEMO and rows.filter(simulated=True).exists():
        subject |= {"simulated": True, "simulated_what": "simulated devices"}
    if ratio.mismatch:
        sentence = f"The A/A test {test.key} exposed {said}: not as shared out (p = {ratio.p_value:.2g} at any look)."
        return Finding(Verdict.FAIL, sentence, subject)
    least = int(box.limit.at_least or 1)
    if sum(counts) < least or not all(counts):
        verdict = Verdict.INSUFFICIENT if any(counts) else Verdict.NO_DATA
        sentence = f"The A/A test {test.key} exposed {said}; it needs {least} devices and some in every arm."
        return Finding(verdict, sentence, subject)
    seen_at = _seen_at(test, rows)
    return Finding(
        Verdict.PASS,
        f"The A/A test {test.key} exposed {said}: as shared out (p = {ratio.p_value:.2g} at any look).",
        subject,
        measured_at=seen_at,
        expires_at=seen_at + box.valid_for,
    )


def _lately(test: Experiment, since: datetime) -> QuerySet[Exposure]:
    rows, fresh = exposures(test), Q(first_at__gte=since)
    if test.ended_at is not None:
        return rows.filter(fresh)
    seen = CensusDevice.objects.filter(
        environment=test.environment, device_id=OuterRef("device_id"), last_seen_at__gte=since
    )
    return rows.filter(fresh | Exists(seen))


def _seen_at(test: Experiment, rows: QuerySet[Exposure]) -> datetime:
    """Return when a device of the test was exposed last, or, while it runs, was last seen."""
    newest: datetime = rows.aggregate(at=Max("first_at"))["at"]
    if test.ended_at is not None:
        return newest
    known = CensusDevice.objects.filter(environment=test.environment, device_id__in=rows.values("device_id"))
    seen: datetime | None = known.aggregate(at=Max("last_seen_at"))["at"]
    return max(newest, seen) if seen else newest
