"""Crash reporting: a crash of the release's build has arrived, so that one that matters would."""

from datetime import timedelta

from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.selectors import logs
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question


def crash_reporting(asked: Question) -> Finding:
    """A crash of the release's build has arrived where it is measured, younger than the box's span."""
    release = asked.release
    # before production has any: crashes of the build are provoked in staging
    where = Environment.STAGING.value if asked.environment == Environment.PRODUCTION else asked.environment
    found = logs.last_crash(where, release.app_version)
    if found is None:
        any_kind = logs.last_crash(where, "")
        if any_kind is None:
            return Finding(Verdict.NO_DATA, f"No crash has arrived in {where} yet; provoke one in this build.")
        other = any_kind.app_version or "a version that it does not say"
        sentence = f"The newest crash in {where} is of {other}, not of {release.app_version}."
        return Finding(Verdict.FAIL, sentence)
    subject = {"simulated": True, "simulated_what": "simulated devices"} if found.simulated else {}
    what = found.exception_type or found.event_name
    return Finding(
        Verdict.PASS,
        f"A crash of {release.app_version} arrived in {where}: {what[:80]}.",
        subject,
        source="logs",
        measured_at=found.received_at,
        expires_at=found.received_at + min(asked.box.valid_for, timedelta(days=14)),
    )
