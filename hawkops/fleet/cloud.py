"""A small local stand-in for cloud AI: answers after a realistic delay, and marks every answer as simulated.

It also hands out the generated model, so that a device can be told to fetch its model anew.
"""

import argparse
import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from hawkops.fleet.model import PATH

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MOST_BYTES = 65_536
MEDIAN_SECONDS, SPREAD, LONGEST_SECONDS = 0.35, 0.35, 1.5


class CloudStandIn:
    """The ASGI application. `POST /v1/generate` takes `{"prompt": …, "max_tokens": …}`; `GET /v1/model` is the model."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is spoken here")
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            await _answer(send, 200, {"status": "ok", "simulated": True})
        elif path == "/v1/model" and method == "GET":
            await _send(send, 200, PATH.read_bytes(), b"application/octet-stream")
        elif path != "/v1/generate":
            await _answer(send, 404, {"error": "there are only POST /v1/generate, GET /v1/model and GET /healthz"})
        elif method != "POST":
            await _answer(send, 405, {"error": "use POST"})
        else:
            await self._generate(receive, send)

    async def _generate(self, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BYTES:
                await _answer(send, 413, {"error": f"at most {MOST_BYTES} bytes"})
                return
        prompt = _prompt(body)
        if prompt is None:
            await _answer(send, 400, {"error": 'send {"prompt": "…"}'})
            return
        delay = min(LONGEST_SECONDS, self._chance.lognormvariate(0, SPREAD) * MEDIAN_SECONDS)
        await asyncio.sleep(delay)
        text = f"A simulated answer to {len(prompt)} characters."
        await _answer(send, 200, {"text": text, "model": "cloud-stand-in", "simulated": True, "seconds": delay})


def _prompt(body: bytes) -> str | None:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    prompt = request.get("prompt") if isinstance(request, dict) else None
    return prompt if isinstance(prompt, str) and prompt else None


async def _answer(send: Send, status: int, body: dict[str, object]) -> None:
    await _send(send, status, json.dumps(body).encode(), b"application/json")


async def _send(send: Send, status: int, content: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def main() -> None:
    """Serve on 127.0.0.1."""
    parser = argparse.ArgumentParser(description="Stand in for cloud AI on this machine.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("CLOUD_AI_PORT", "4319")))
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    application = CloudStandIn(random.Random(given.seed))
    uvicorn.run(application, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
