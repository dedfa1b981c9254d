"""`/api/v1/ENVIRONMENT/channels` and `/deliveries`: who is told, and the receipt of everything that was. Addresses are
taken and never given back."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status

from hawkops.accounts.api import asks, who
from hawkops.core.access import Role, Scope
from hawkops.core.api import Body
from incidents.models import Channel, Delivery
from incidents.selectors import notifications as selectors
from incidents.services import channels as services
from incidents.services.channels import Rules, channel_of
from monitoring.domain.criteria import Severity

MAY_TEST = (Role.OPERATOR, Role.RELEASER)
DELIVERIES_MOST = 100

router = Router(tags=["Notifications"])


class ChannelBody(Body):
    """A channel of the team. What `address` is depends on the kind: a webhook's, an integration key, an e-mail address."""

    name: str
    kind: str
    address: str
    topics: list[str]
    severities: list[str]
    signing_secret: str = ""
    reason: str = ""


class ChannelChangeBody(Body):
    """What becomes of a channel. What is left out stays; another address must be tested anew."""

    name: str | None = None
    address: str = ""
    topics: list[str] | None = None
    severities: list[str] | None = None
    paused: bool | None = None
    signing_secret: str = ""
    reason: str = ""


class ChannelOut(Schema):
    """A channel. `tested_at` is when a test reached its present address; `failing` says what its newest message came to."""

    channel: int
    name: str
    kind: str
    address: str
    of: str
    topics: list[str]
    severities: list[Severity]
    paused: bool
    tested_at: datetime | None
    waiting: int
    failing: str


class ChannelMadeOut(ChannelOut):
    """A new channel; `signing_secret` is shown this once, where one was made."""

    signing_secret: str


class ChannelsOut(Schema):
    """Those that fail first."""

    channels: list[ChannelOut]


class DeliveryReceiptOut(Schema):
    """What one attempt came to: accepted, again or refused, with the other side's status and words."""

    number: int
    at: datetime
    seconds: float | None
    outcome: str
    status: int | None
    answer: str


class DeliveryOut(Schema):
    """A message to one channel. `entry` is the history entry it tells of; `delay_seconds` from there to its arrival."""

    delivery: int
    channel: int
    key: str
    thread: str
    action: str
    severity: str
    title: str
    entry: int | None
    state: str
    made_at: datetime
    next_at: datetime | None
    delay_seconds: float | None
    receipts: list[DeliveryReceiptOut]


class DeliveriesOut(Schema):
    """Those of the last day that are in trouble, then the newest."""

    deliveries: list[DeliveryOut]


@router.get("/{environment}/channels", response=ChannelsOut, **asks(Scope.READ))
def channels(request: HttpRequest, environment: str) -> ChannelsOut:
    """Every channel in use."""
    return ChannelsOut(channels=[ChannelOut(**_told(one)) for one in selectors.channels(environment)])


@router.post("/{environment}/channels", response={201: ChannelMadeOut}, **asks(Scope.ONCALL_WRITE, Role.ADMIN))
def channel_create(request: HttpRequest, environment: str, body: ChannelBody) -> Status[ChannelMadeOut]:
    """Make a channel of the team; people's own are theirs to make, on the page."""
    made, secret = services.channel_create(
        environment=environment,
        name=body.name,
        kind=body.kind,
        address=body.address,
        rules=Rules(body.topics, body.severities),
        signing_secret=body.signing_secret,
        reason=body.reason,
        **who(request),
    )
    return Status(201, ChannelMadeOut(**_told(_shown(made)), signing_secret=secret))


@router.post("/{environment}/channels/{pk}/change", response=ChannelOut, **asks(Scope.ONCALL_WRITE, Role.ADMIN))
def channel_change(request: HttpRequest, environment: str, pk: int, body: ChannelChangeBody) -> ChannelOut:
    """Change a channel."""
    found = channel_of(environment, pk)
    topics = found.topics if body.topics is None else body.topics
    severities = found.severities if body.severities is None else body.severities
    services.channel_change(
        channel=found,
        name=found.name if body.name is None else body.name,
        rules=Rules(topics, severities),
        paused=found.paused if body.paused is None else body.paused,
        address=body.address,
        signing_secret=body.signing_secret,
        reason=body.reason,
        **who(request),
    )
    return ChannelOut(**_told(_shown(channel_of(environment, pk))))


@router.delete("/{environment}/channels/{pk}", response={204: None}, **asks(Scope.ONCALL_WRITE, Role.ADMIN))
def channel_archive(request: HttpRequest, environment: str, pk: int) -> Status[None]:
    """Take a channel out of use; what it was not sent yet is given up."""
    services.channel_archive(channel=channel_of(environment, pk), **who(request))
    return Status(204, None)


@router.post("/{environment}/channels/{pk}/test", response={202: DeliveryOut}, **asks(Scope.ONCALL_WRITE, *MAY_TEST))
def channel_test(request: HttpRequest, environment: str, pk: int) -> Status[DeliveryOut]:
    """Send a test message; its receipt stands under `/deliveries` once it came back."""
    made = services.channel_test(channel=channel_of(environment, pk), **who(request))
    return Status(202, DeliveryOut(**_delivery(made)))


@router.get("/{environment}/deliveries", response=DeliveriesOut, **asks(Scope.READ))
def deliveries(request: HttpRequest, environment: str) -> DeliveriesOut:
    """The newest messages with their receipts."""
    found = selectors.deliveries(environment, limit=DELIVERIES_MOST)
    return DeliveriesOut(deliveries=[DeliveryOut(**_delivery(one)) for one in found])


def _shown(channel: Channel) -> selectors.Shown:
    return next(one for one in selectors.channels(channel.environment) if one.channel.pk == channel.pk)


def _told(one: selectors.Shown) -> dict[str, Any]:
    channel = one.channel
    return {
        "channel": channel.pk,
        "name": channel.name,
        "kind": channel.kind,
        "address": channel.hint,
        "of": channel.person.get_username() if channel.person else "the team",
        "topics": list(channel.topics),
        "severities": list(channel.severities),
        "paused": channel.paused,
        "tested_at": channel.verified_at,
        "waiting": one.waiting,
        "failing": one.failing.state if one.failing is not None else "",
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    return {
        "delivery": one.pk,
        "channel": one.channel_id,
        "key": one.key,
        "thread": one.thread,
        "action": one.action,
        "severity": one.severity,
        "title": one.title,
        "entry": one.entry,
        "state": one.state,
        "made_at": one.made_at,
        "next_at": None if one.done_at else one.next_at,
        "delay_seconds": one.delay.total_seconds() if one.delay is not None else None,
        "receipts": [
            DeliveryReceiptOut(
                number=receipt.number,
                at=receipt.at,
                seconds=receipt.seconds,
                outcome=receipt.outcome,
                status=receipt.status,
                answer=receipt.answer,
            )
            for receipt in one.receipts.order_by("number")
        ],
    }
