"""`Idempotency-Key`: a POST that is sent again is answered as the first time and not done twice, for a day.

Only what was done is kept. A refusal has changed nothing, so that its key may come again.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja.errors import HttpError

from hawkops.accounts.api import caller
from hawkops.accounts.models import KeyedAnswer
from hawkops.core import clock
from hawkops.core.errors import Conflict
from hawkops.core.sealing import Unsealable, seal, unseal

HEADER = "Idempotency-Key"
KEEP = timedelta(hours=24)
KEY = re.compile(r"[\x21-\x7e]{1,200}")


def once(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Let an operation's POST with a key be done once. Raises Conflict while the first one is under way."""

    @wraps(operation)
    def keyed(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if key is None or request.method != "POST":
            return operation(request, *args, **kwargs)
        kept, new = _begun(request, key)
        if not new:
            return _again(kept)
        request.keyed_answer = kept  # type: ignore[attr-defined]
        try:
            return operation(request, *args, **kwargs)
        except BaseException:
            kept.delete()
            raise

    return keyed


def answered(request: HttpRequest, response: HttpResponse) -> None:
    """Keep what a request with a key is answered."""
    kept = getattr(request, "keyed_answer", None)
    if isinstance(kept, KeyedAnswer):
        # a secret that is shown this once may stand in it
        kept.status, kept.content = response.status_code, seal(response.content.decode()).encode()
        kept.location = response.get("Location", "")
        kept.save(update_fields=["status", "content", "location"])


def _begun(request: HttpRequest, key: str) -> tuple[KeyedAnswer, bool]:
    """Return what is kept under a key, and whether it is new with that."""
    if not KEY.fullmatch(key):
        raise HttpError(422, f"{HEADER} is 1 to 200 printable characters without spaces.")
    now = clock.now()
    KeyedAnswer.objects.filter(at__lt=now - KEEP).delete()
    asked = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    digest = hashlib.sha256(asked).hexdigest()
    kept, new = KeyedAnswer.objects.get_or_create(
        caller=caller(request).actor.reference, key=key, defaults={"request_digest": digest, "at": now}
    )
    if kept.request_digest != digest:
        raise HttpError(422, f"This {HEADER} came with another request before; use a new key for each request.")
    return kept, new


def _again(kept: KeyedAnswer) -> HttpResponse:
    if kept.status is None:
        raise Conflict(f"The first request with this {HEADER} is under way, or was cut off. Look at what it did.")
    try:
        content = unseal(bytes(kept.content).decode())
    except Unsealable:
        raise Conflict("It was done, and its answer can't be opened any more. Look at what it did.") from None
    response = HttpResponse(content, status=kept.status, content_type="application/json; charset=utf-8")
    response["Idempotent-Replayed"] = "true"
    if kept.location:
        response["Location"] = kept.location
    return response
