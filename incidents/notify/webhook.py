"""A signed webhook of our own, as Standard Webhooks has it: the same id at every attempt, the time and a signature."""

import json

from incidents.domain import signing
from incidents.notify.shape import Answer, Sending, Way, posted, web_address


def body_of(sending: Sending) -> bytes:
    """Return the bytes that are signed."""
    message = sending.message
    document = {"type": message.verb, "timestamp": message.at.isoformat(), "data": message.document()}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _send(sending: Sending) -> Answer:
    body = body_of(sending)
    headers = signing.headers(
        secret=sending.signing_secret, webhook_id=sending.key, timestamp=int(sending.at.timestamp()), body=body
    )
    return posted(sending.address, content=body, headers={"Content-Type": "application/json", **headers})


WAY = Way(
    web_address,
    _send,
    asks="Address",
    help="It gets JSON by POST, with the headers webhook-id, webhook-timestamp and webhook-signature of "
    "standardwebhooks.com; any 2xx is a yes.",
    signs="Signing secret",
)
