"""A/B testing works: an A/A test has exposed devices to every arm, and each arm got its share."""

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.domain.statistics.ratio import sample_ratio
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question
from rollout.models import Experiment, Exposure
from rollout.selectors.experiments import exposures


def ab_framework(asked: Question) -> Finding:
    """The newest A/A test within the box's span exposed the box's number of devices to its arms as shared out."""
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
    rows = exposures(test).filter(first_at__gte=since)
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
    newest = Exposure.objects.filter(pk__in=rows).latest("first_at").first_at
    return Finding(
        Verdict.PASS,
        f"The A/A test {test.key} exposed {said}: as shared out (p = {ratio.p_value:.2g} at any look).",
        subject,
        measured_at=newest,
        expires_at=newest + box.valid_for,
    )
