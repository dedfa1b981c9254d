"""Log aggregation: a marked line goes in by the devices' own door, and is looked for where lines are read.

The mark is an event's name and the line has no text: it counts as no words of a device, and names no device.
"""

import time
import uuid

import httpx
from django.conf import settings

from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core.verdicts import Verdict
from monitoring.selectors.logs import last_line_id, line_exists
from rollout.domain.gates import Finding, amount, bound
from rollout.evidence.shape import Question

TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.1
# A gateway learns of a new key within moments; more than this means that it does not know it.
KEY_TRIES = 8
INFO = 9


def log_aggregation(asked: Question) -> Finding:
    """Send one line to the gateway and find it again within the box's limit."""
    environment, mark = asked.environment, f"hawkops.probe.{uuid.uuid4().hex}"
    subject = {"gateway": settings.GATEWAY_URL}
    key = probe_key_ensure(environment=environment)
    newest = last_line_id(environment)
    began = time.perf_counter()
    try:
        _send(key, mark)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(Verdict.ERROR, f"The gateway took no log line: {error or type(error).__name__}.", subject)
    limit = asked.box.limit
    while not line_exists(environment, mark, after_id=newest):
        if not limit.kept(time.perf_counter() - began):
            said = f"A marked log line was taken but not found, wanted {bound(limit, 's')}."
            return Finding(Verdict.FAIL, said, subject)
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    verdict = Verdict.PASS if limit.kept(seconds) else Verdict.FAIL
    return Finding(
        verdict, f"A marked log line was found after {amount(seconds, 's')}, wanted {bound(limit, 's')}.", subject
    )


def _send(key: str, mark: str) -> None:
    record = {"timeUnixNano": str(time.time_ns()), "severityNumber": INFO, "eventName": mark}
    payload = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    for _ in range(KEY_TRIES):
        answer = httpx.post(
            f"{settings.GATEWAY_URL}/v1/logs",
            json=payload,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
        )
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            break
        time.sleep(0.25)
    answer.raise_for_status()
