"""Performance targets: what devices of the reference class reached, on every backend the release declares."""

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.selectors import reasons
from monitoring.selectors.criteria import criteria
from monitoring.selectors.judging import judged
from rollout.domain.gates import Finding, Line, together
from rollout.evidence.shape import Question

# the stored criteria of the gates, by backend
KEYS = {"cpu": "gate-cpu", "gpu": "gate-gpu", "npu": "gate-npu"}


def targets_validated(asked: Question) -> Finding:
    """The criteria of the gate on throughput pass for every declared backend that somebody has."""
    wanted = [KEYS[backend] for backend in asked.release.backends if backend in KEYS]
    found = judged(asked.environment, criteria(keys=wanted), now=asked.now)
    lines = tuple(
        Line(
            one.criterion.title,
            one.judgement.verdict if one.judgement.in_scope else None,
            one.judgement.sentence,
            why=reasons.of(one, now=asked.now),
        )
        for one in found.lines
    )
    counted = [line for line in lines if line.verdict is not None]
    if not counted:
        return Finding(Verdict.NO_DATA, f"No device in {asked.environment} has a backend that the release declares.")
    passed = sum(line.verdict is Verdict.PASS for line in counted)
    out = f", {len(lines) - len(counted)} not in scope" if len(lines) > len(counted) else ""
    left = f" Left out: {', '.join(found.left_out)}, which ran the generated model." if found.left_out else ""
    subject: dict[str, object] = {}
    if asked.environment == Environment.DEMO and found.synthetic:
        subject = {"simulated": True, "simulated_what": "simulated or synthetic devices"}
    sentence = f"{passed} of {len(counted)} throughput targets met in {asked.environment}{out}.{left}"
    return Finding(together(counted), sentence, subject, lines, source="telemetry")
