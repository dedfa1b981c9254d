"""The stand-in for cloud AI: a delay as in life, an answer marked as simulated, and clear refusals."""

import json
import random
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from hawkops.fleet.cloud import MOST_BYTES, CloudStandIn
from tests.fleet.standin import serving


def ask(port: int, body: bytes | None, path: str = "/v1/generate") -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def test_cloud__prompt__is_answered_late_and_marked_simulated() -> None:
    with serving(CloudStandIn(random.Random(1))) as port:
        began = time.monotonic()
        status, answer = ask(port, b'{"prompt": "What is this?", "max_tokens": 8}')
        assert status == 200
        assert answer["simulated"] is True
        assert answer["text"]
        assert 0.05 < time.monotonic() - began < 2.0
        assert ask(port, None, "/healthz") == (200, {"status": "ok", "simulated": True})


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"nonsense", "/v1/generate", 400),
        (b"[" * 50_000, "/v1/generate", 400),
        (b'{"prompt": ""}', "/v1/generate", 400),
        (b'{"prompt": 1}', "/v1/generate", 400),
        (b"x" * (MOST_BYTES + 1), "/v1/generate", 413),
        (None, "/v1/generate", 405),
        (None, "/elsewhere", 404),
    ],
)
def test_cloud__bad_request__is_refused(body: bytes | None, path: str, status: int) -> None:
    with serving(CloudStandIn(random.Random(1))) as port:
        assert ask(port, body, path)[0] == status
