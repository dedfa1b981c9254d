"""Signatures of our own webhooks, as Standard Webhooks has them. https://www.standardwebhooks.com

`webhook-id` stays the same however often one is sent; the signature covers id, time and body.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import timedelta

PREFIX = "whsec_"
KEY_BYTES_LEAST, KEY_BYTES_MOST = 24, 64
TOLERANCE = timedelta(minutes=5)


def key_of(secret: str) -> bytes:
    """Return the key's bytes. Raises ValueError for what is no secret of this form."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"what follows {PREFIX} is no base64") from error
    if not KEY_BYTES_LEAST <= len(key) <= KEY_BYTES_MOST:
        raise ValueError(f"its key has {KEY_BYTES_LEAST} to {KEY_BYTES_MOST} bytes")
    return key


def secret_of(key: bytes) -> str:
    """Return random bytes as a secret."""
    return PREFIX + base64.b64encode(key).decode()


def signature(*, secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of one attempt."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, hashlib.sha256).digest()).decode()


def headers(*, secret: str, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret=secret, webhook_id=webhook_id, timestamp=timestamp, body=body),
    }


def verified(*, secret: str, given: dict[str, str], body: bytes, now: int) -> bool:
    """Say whether a webhook is genuine and young: what a receiver does, here for the tests and its description."""
    try:
        timestamp = int(given["webhook-timestamp"])
        wanted = signature(secret=secret, webhook_id=given["webhook-id"], timestamp=timestamp, body=body)
        sent = given["webhook-signature"].split()
    except (KeyError, ValueError):
        return False
    if abs(now - timestamp) > TOLERANCE.total_seconds():
        return False
    return any(hmac.compare_digest(wanted.encode(), one.encode()) for one in sent)
