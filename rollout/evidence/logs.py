"""Log lines: a marked one is found again after it went through the devices' own door, and crashes of the build arrive."""

import secrets
import time
from datetime import timedelta

import httpx
from django.conf import settings

from hawkops.accounts.services import probe_key_ensure
from hawkops.core.environments import Environment
from hawkops.core.verdicts import Verdict
from monitoring.selectors import logs
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question

TIMEOUT_SECONDS = 10
FOUND_WITHIN_SECONDS = 30
LOOK_SECONDS = 0.25
KEY_TRIES = 8


def log_aggregation(asked: Question) -> Finding:
    """A log line with a mark of its own is stored within 30 s of being sent."""
    environment = asked.environment
    subject = {"gateway": settings.GATEWAY_URL}
    mark = f"hawkops probe {secrets.token_hex(8)}"
    before = logs.last_line_id(environment)
    key = probe_key_ensure(environment=environment)
    started = time.monotonic()
    try:
        _send(key, mark)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Finding(Verdict.ERROR, f"The gateway could not be asked: {error or type(error).__name__}.", subject)
    while (waited := time.monotonic() - started) < FOUND_WITHIN_SECONDS:
        if any(line.body == mark for line in logs.lines_since(before, environment=environment)):
            return Finding(Verdict.PASS, f"A marked log line was found again after {waited:.1f} s.", subject)
        time.sleep(LOOK_SECONDS)
    sentence = f"A marked log line was taken and not found again within {FOUND_WITHIN_SECONDS} s."
    return Finding(Verdict.FAIL, sentence, subject)


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


def _send(key: str, mark: str) -> None:
    record = {"severityNumber": 9, "body": {"stringValue": mark}}
    payload = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    with httpx.Client(base_url=settings.GATEWAY_URL, timeout=TIMEOUT_SECONDS) as line:
        for _ in range(KEY_TRIES):
            answer = line.post("/v1/logs", json=payload, headers={"Authorization": f"Bearer {key}"})
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                break
            time.sleep(LOOK_SECONDS)  # a gateway hears of a new key within a moment
        answer.raise_for_status()
        if rejected := (answer.json().get("partialSuccess") or {}).get("rejectedLogRecords"):
            raise ValueError(f"it refused {rejected} log record")
