"""Cloud AI: a real request through the endpoint that devices fall back to."""

import time

import httpx
from django.conf import settings

from hawkops.core.verdicts import Verdict
from rollout.domain.gates import Finding, amount, bound
from rollout.evidence.shape import Question

TIMEOUT_SECONDS = 10.0
PROMPT = "Report the hazards in this photograph."


def cloud_fallback(asked: Question) -> Finding:
    """Ask cloud AI once and time the answer."""
    address = settings.CLOUD_AI_URL.rstrip("/")
    if not address:
        return Finding(Verdict.NO_DATA, "No cloud AI is configured: CLOUD_AI_URL is not set.")
    url = address if address.endswith("/generate") else f"{address}/v1/generate"
    subject: dict[str, object] = {"cloud": address}
    began = time.perf_counter()
    try:
        answer = httpx.post(url, json={"prompt": PROMPT, "max_tokens": 64}, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        given = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Finding(Verdict.FAIL, f"Cloud AI gave no answer: {error or type(error).__name__}.", subject)
    seconds = time.perf_counter() - began
    if not isinstance(given, dict) or not given.get("text"):
        return Finding(Verdict.FAIL, "Cloud AI's answer holds no text.", subject)
    if given.get("simulated") is True:
        subject |= {"simulated": True, "simulated_what": "simulated cloud"}
    verdict = Verdict.PASS if asked.box.limit.kept(seconds) else Verdict.FAIL
    sentence = f"Cloud AI answered in {amount(seconds, 's')}, wanted {bound(asked.box.limit, 's')}."
    return Finding(verdict, sentence, subject)
