"""PagerDuty: events out (Events API v2), acknowledgements in (webhooks v3).

https://developer.pagerduty.com/docs/events-api-v2-overview, .../verifying-webhook-signatures
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from incidents.domain.message import THREAD_MOST, Action, Message, cut, one_line

SUMMARY_MOST = 1_024
DETAILS_MOST = 20
DETAIL_MOST = 2_000
LINK_TEXT_MOST = 250
SOURCE = "HawkOps"
# PagerDuty repeats a webhook for up to a day; what is older was kept by somebody else.
OLD_AFTER = timedelta(hours=48)
AHEAD_MOST = timedelta(minutes=5)
BODY_BYTES_MOST = 512 * 1024


def dedup_key(thread: str) -> str:
    """Return a thread as a deduplication key; one that is too long keeps its beginning and a digest of it all."""
    if len(thread) <= THREAD_MOST:
        return thread
    return f"{thread[: THREAD_MOST - 33]}:{hashlib.sha256(thread.encode()).hexdigest()[:32]}"


def takes(message: Message) -> bool:
    """Say whether a message is anything to a pager: it opens, acknowledges or ends something, or is a change."""
    return message.action is not Action.TELL or message.change


def path(message: Message) -> str:
    """Return where at PagerDuty it is posted."""
    return "/v2/change/enqueue" if message.action is Action.TELL else "/v2/enqueue"


def event(message: Message, *, routing_key: str, client_url: str) -> dict[str, Any]:
    """Return the event. A test opens an alert of the lowest severity under a key of its own."""
    links = [{"href": link.url, "text": cut(one_line(link.text), LINK_TEXT_MOST)} for link in message.links]
    if message.action is Action.TELL:
        payload: dict[str, Any] = {
            "summary": _summary(message),
            "timestamp": message.at.isoformat(),
            "source": SOURCE,
            "custom_details": _details(message),
        }
        return {"routing_key": routing_key, "payload": payload, "links": links}
    key = dedup_key(message.thread)
    if message.action in (Action.ACKNOWLEDGE, Action.RESOLVE):
        return {"routing_key": routing_key, "event_action": message.action.value, "dedup_key": key}
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": key,
        "client": SOURCE,
        "client_url": client_url,
        "links": links,
        "payload": {
            "summary": _summary(message),
            "source": f"{SOURCE} {message.environment}",
            "severity": message.severity.value,
            "timestamp": message.at.isoformat(),
            "class": message.verb,
            "custom_details": _details(message),
        },
    }


def _summary(message: Message) -> str:
    return cut(one_line(message.headline), SUMMARY_MOST)


def _details(message: Message) -> dict[str, Any]:
    said = [cut(line, DETAIL_MOST) for line in message.sentences[:DETAILS_MOST]]
    return {"environment": message.environment, "said": said, "simulated": message.simulated}


# ---- webhooks ----


@dataclass(frozen=True)
class Heard:
    """One event that PagerDuty tells. `thread` is empty where it names none of ours."""

    event_id: str
    event_type: str
    occurred_at: datetime
    thread: str
    by_id: str
    by: str

    @property
    def acknowledges(self) -> bool:
        """Whether somebody took it."""
        return self.event_type == "incident.acknowledged"


def signed(body: bytes, header: str, secret: str) -> bool:
    """Say whether one of the signatures is that of the whole body; several stand there while a secret is changed."""
    if not secret:
        return False
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = [part.strip().removeprefix("v1=") for part in header.split(",") if part.strip().startswith("v1=")]
    return any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given)


def heard(document: object, *, now: datetime) -> Heard:
    """Read a webhook's body. Raises ValueError for what is none, or what happened too long ago to be sent just now."""
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        raise ValueError("there is no event in it")
    data, agent = event.get("data"), event.get("agent")
    event_id, kind, at = event.get("id"), event.get("event_type"), event.get("occurred_at")
    if not (isinstance(event_id, str) and 0 < len(event_id) <= 80 and isinstance(kind, str) and isinstance(at, str)):
        raise ValueError("its id, event_type or occurred_at is missing")
    occurred_at = datetime.fromisoformat(at)
    if occurred_at.tzinfo is None:
        raise ValueError("occurred_at has no zone")
    if not now - OLD_AFTER <= occurred_at <= now + AHEAD_MOST:
        raise ValueError(f"it happened at {at}, which is no time to tell of now")
    thread = data.get("incident_key") if isinstance(data, dict) else ""
    by_id = agent.get("id") if isinstance(agent, dict) else ""
    by = agent.get("summary") if isinstance(agent, dict) else ""
    return Heard(
        event_id=event_id,
        event_type=cut(kind, 80),
        occurred_at=occurred_at.astimezone(UTC),
        thread=thread if isinstance(thread, str) and len(thread) <= THREAD_MOST else "",
        by_id=cut(one_line(by_id), 40) if isinstance(by_id, str) else "",
        by=cut(one_line(by), 100) if isinstance(by, str) else "",
    )
