"""Alerting endpoints: a test message reached each of the team's channels, and each has its receipt."""

from datetime import datetime

from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Finding, Line
from rollout.evidence.shape import Question
from rollout.selectors.endpoints import Endpoint, endpoints

NONE = "No channel is set up in {}: make one under Notifications and send it a test."


def alert_endpoints(asked: Question) -> Finding:
    """Every channel of the environment has a receipt of a test younger than the box's time; it counts from the oldest."""
    found = endpoints(asked.environment)
    if not found:
        return Finding(Verdict.NO_DATA, NONE.format(asked.environment))
    since = asked.now - asked.box.valid_for
    lines = tuple(Line(one.name, _verdict(one, since=since), one.sentence) for one in found)
    failing = [line.title for line in lines if line.verdict is Verdict.FAIL]
    missing = [line.title for line in lines if line.verdict is Verdict.NO_DATA]
    if failing:
        sentence = f"A test did not reach {', '.join(failing)}."
        return Finding(Verdict.FAIL, sentence, lines=lines)
    if missing:
        days = asked.box.valid_for.days
        sentence = f"{len(missing)} of {len(found)} channels without a test within {days} days: {', '.join(missing)}."
        return Finding(Verdict.NO_DATA, sentence, lines=lines)
    word = "A test reached" if len(found) == 1 else f"A test reached each of {len(found)} channels:"
    sentence = f"{word} {', '.join(one.name for one in found)}."
    measured_at = min(one.at for one in found if one.at is not None)
    return Finding(Verdict.PASS, sentence, lines=lines, measured_at=measured_at)


def _verdict(one: Endpoint, *, since: datetime) -> Verdict:
    if one.reached is None or one.at is None or one.at < since:
        return Verdict.NO_DATA
    return Verdict.PASS if one.reached else Verdict.FAIL
