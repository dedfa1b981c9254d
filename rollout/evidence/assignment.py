"""User-hash assignment: the published vectors get their buckets through the devices' own door, while it serves.

Their keys begin with the probe's prefix, so that the census counts no device that does not exist.
"""

import json
import time
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from hawkops.accounts.services.credentials import probe_key_ensure
from hawkops.core.verdicts import Verdict
from rollout import domain
from rollout.domain.gates import Finding
from rollout.evidence.shape import Question
from rollout.selectors import flags

VECTORS = Path(domain.__file__).with_name("bucket-vectors.json")
TIMEOUT_SECONDS = 5.0
# A gateway learns of a new key within moments; more than this means that it does not know it.
KEY_TRIES = 8


@cache
def vectors() -> dict[str, Any]:
    """Return the published vectors: flag, salt, and [targeting key, bucket] pairs."""
    found: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return found


def hash_assignment(asked: Question) -> Finding:
    """Ask the gateway for each vector; it says the bucket and the value that it serves."""
    environment, published = asked.release.environment, vectors()
    flag = flags.flag(environment, published["flag"])
    if flag is None:
        return Finding(Verdict.NO_DATA, f"There is no flag {published['flag']} in {environment}.")
    if flag.salt != published["salt"]:
        sentence = f"{flag.key} was salted anew ({flag.salt}); the published vectors speak of {published['salt']}."
        return Finding(Verdict.NO_DATA, sentence)
    subject = {"gateway": settings.GATEWAY_URL, "salt": flag.salt}
    key = probe_key_ensure(environment=environment)
    wrong: list[str] = []
    try:
        with httpx.Client(base_url=settings.GATEWAY_URL, timeout=TIMEOUT_SECONDS) as line:
            for targeting_key, bucket in published["vectors"]:
                said = _ask(line, key, flag.key, targeting_key)
                found = (said.get("metadata") or {}).get("bucket")
                if found != bucket:
                    wrong.append(f"{targeting_key} fell into {found}, not {bucket}")
                elif (
                    not flag.experiment
                    and said.get("reason") == "SPLIT"
                    and said.get("value") is not (bucket < flag.thousandths)
                ):
                    wrong.append(f"{targeting_key} in bucket {bucket} was served {said.get('value')}")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Finding(Verdict.ERROR, f"The gateway could not be asked: {error or type(error).__name__}.", subject)
    total = len(published["vectors"])
    if wrong:
        return Finding(Verdict.FAIL, f"{len(wrong)} of {total} vectors differ: {wrong[0]}.", subject)
    return Finding(
        Verdict.PASS, f"{total} of {total} published vectors fell into their buckets at the gateway.", subject
    )


def _ask(line: httpx.Client, key: str, flag: str, targeting_key: str) -> dict[str, Any]:
    context = {"targetingKey": targeting_key}
    for _ in range(KEY_TRIES):
        answer = line.post(
            f"/ofrep/v1/evaluate/flags/{flag}", json={"context": context}, headers={"Authorization": f"Bearer {key}"}
        )
        if answer.status_code != httpx.codes.UNAUTHORIZED:
            break
        time.sleep(0.25)
    answer.raise_for_status()
    said = answer.json()
    if not isinstance(said, dict):
        raise ValueError("its answer is not an object")
    return said
