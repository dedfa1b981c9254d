"""Sending what is due. A delivery is claimed with a lease, sent outside of any transaction, and given its receipt.

A sender that dies between the two leaves its lease, which runs out; the next one sends it again under the same key: told
at least once. A channel sends one at a time, so that what began is told before it ends.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from hawkops.core import clock
from hawkops.core.live import announce
from hawkops.core.sealing import Unsealable, unseal
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from incidents.domain import retrying
from incidents.domain.message import Action, delayed
from incidents.domain.retrying import Outcome, State
from incidents.models import Channel, Delivery, Receipt
from incidents.notify.registry import WAYS
from incidents.notify.shape import Answer, Sending
from incidents.services.acknowledging import heard_prune

log = logging.getLogger(__name__)
COURIER = Actor.rule("notifications")
FAILED_VERB, RECOVERED_VERB = "notification.failed", "notification.recovered"
KEPT = timedelta(days=90)
LOST = "Whoever sent it ended before an answer was written down; it may have arrived."


@dataclass(frozen=True)
class Claim:
    """A delivery that this sender alone holds until its lease runs out."""

    delivery: Delivery
    lease: str


def send_due(*, seconds: float | None = None) -> int:
    """Send what is due, one after another, for so long at most (without end where none is given); return how many.

    Several may do this at once: each channel is served by one of them at a time.
    """
    began, sent = time.monotonic(), 0
    while seconds is None or time.monotonic() - began < seconds:
        claim = claim_next()
        if claim is None:
            break
        sent += 1
        attempt(claim)
    return sent


def claim_next() -> Claim | None:
    """Take the oldest due delivery of a channel that nobody serves just now; None when nothing is due."""
    now = clock.now()
    held = Delivery.objects.filter(
        channel=OuterRef("pk"), state=State.PENDING.value, leased_until__gt=now
    )  # fmt: skip
    due = _due(now).filter(channel=OuterRef("pk"))
    channels = (
        Channel.objects.filter(Q(resting_until=None) | Q(resting_until__lte=now))
        .filter(Exists(due), ~Exists(held), paused=False)
        .order_by("pk")
    )
    for pk in list(channels.values_list("pk", flat=True)):
        with transaction.atomic():
            # whoever holds the channel's row is choosing from it this very moment
            channel = Channel.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=pk).first()
            if channel is None or channel.deliveries.filter(state=State.PENDING, leased_until__gt=now).exists():
                continue
            delivery = _due(now).filter(channel=channel).order_by("pk").first()
            if delivery is None:
                continue
            return _claimed(delivery, channel, now)
    return None


def _due(now: datetime) -> QuerySet[Delivery]:
    """Return what may be sent now: nothing of a thread before what came earlier in it."""
    earlier = Delivery.objects.filter(
        channel=OuterRef("channel"), thread=OuterRef("thread"), state=State.PENDING.value, pk__lt=OuterRef("pk")
    )
    return Delivery.objects.filter(
        ~Exists(earlier), Q(leased_until=None) | Q(leased_until__lte=now), state=State.PENDING.value, next_at__lte=now
    )


def _claimed(delivery: Delivery, channel: Channel, now: datetime) -> Claim:
    if delivery.lease:  # the sender before this one died with it
        Receipt.objects.get_or_create(
            delivery=delivery,
            number=delivery.attempts,
            defaults={"at": delivery.leased_until or now, "outcome": Outcome.AGAIN.value, "answer": LOST},
        )
    delivery.attempts += 1
    delivery.lease, delivery.leased_until = uuid4().hex, now + retrying.LEASE
    delivery.save(update_fields=["attempts", "lease", "leased_until"])
    delivery.channel = channel
    return Claim(delivery, delivery.lease)


def attempt(claim: Claim) -> Outcome:
    """Send a claimed delivery and write down what came back."""
    delivery = claim.delivery
    at, began = clock.now(), time.monotonic()
    answer = _sent(delivery, at)
    _receipt(claim, answer, at, time.monotonic() - began)
    return answer.outcome


def _sent(delivery: Delivery, at: datetime) -> Answer:
    channel = delivery.channel
    try:
        return WAYS[channel.kind].send(
            Sending(
                address=unseal(channel.address),
                signing_secret=unseal(channel.signing_secret),
                message=delayed(delivery.told, now=at),
                key=delivery.key,
                at=at,
            )
        )
    except Unsealable as error:
        return Answer(Outcome.REFUSED, f"Its address can't be read. {error}")
    except Exception as error:
        log.exception("notifications.sending_failed", extra={"delivery": delivery.pk})
        return Answer(Outcome.AGAIN, f"{type(error).__name__} while sending")


def _receipt(claim: Claim, answer: Answer, at: datetime, seconds: float) -> None:
    """Write the receipt and move the delivery on, unless another sender has taken it over."""
    now = clock.now()
    with change(actor=COURIER, environment=claim.delivery.channel.environment) as this:
        # the channel first, as whoever claims does
        channel = Channel.objects.select_for_update(no_key=True).get(pk=claim.delivery.channel_id)
        delivery = Delivery.objects.select_for_update(no_key=True).get(pk=claim.delivery.pk)
        delivery.channel = channel
        if delivery.lease != claim.lease:
            return
        Receipt.objects.create(
            delivery=delivery,
            number=delivery.attempts,
            at=at,
            seconds=round(seconds, 3),
            outcome=answer.outcome.value,
            status=answer.status,
            answer=answer.text.replace("\x00", ""),
        )
        state, pause = retrying.after(
            answer.outcome,
            attempts=delivery.attempts,
            key=delivery.key,
            age=now - delivery.made_at,
            asked=answer.asked,
        )
        delivery.lease, delivery.leased_until = "", None
        delivery.state = state.value
        if pause is not None:
            delivery.next_at = now + pause
        else:
            delivery.done_at = now
        delivery.save(update_fields=["lease", "leased_until", "state", "next_at", "done_at"])
        _channel_moved(channel, delivery, state, answer, now)
        if state is not State.PENDING and (verb := _turned(delivery, state)):
            after = {
                "name": delivery.channel.kept_as,
                "title": delivery.title,
                "state": state.value,
                "attempts": delivery.attempts,
                "status": answer.status,
            }
            this.record(verb, subject=f"channel:{delivery.channel_id}", after=after, reason=answer.text)
        announce("notifications", delivery.channel.environment)


def _turned(delivery: Delivery, state: State) -> str:
    """Return the verb when a channel begins to fail, or works again; empty when it fares as it did before."""
    told = HistoryEntry.objects.filter(
        subject=f"channel:{delivery.channel_id}", verb__in=[FAILED_VERB, RECOVERED_VERB]
    )  # fmt: skip
    failing = told.order_by("-seq").values_list("verb", flat=True).first() == FAILED_VERB
    if failing is (state is not State.SENT):
        return ""
    return RECOVERED_VERB if failing else FAILED_VERB


def _channel_moved(channel: Channel, delivery: Delivery, state: State, answer: Answer, now: datetime) -> None:
    """Leave a channel alone that asks for it, and note that a test reached it."""
    if answer.asked is not None and answer.outcome is Outcome.AGAIN:
        channel.resting_until = now + answer.asked
        channel.save(update_fields=["resting_until"])
    elif state is State.SENT and delivery.action == Action.TEST and delivery.made_at >= channel.changed_at:
        channel.verified_at = channel.verified_at or now
        channel.save(update_fields=["verified_at"])


def deliveries_prune() -> int:
    """Forget deliveries that ended long ago, with their receipts, and what pagers told; return how many."""
    now = clock.now()
    old = Delivery.objects.filter(made_at__lt=now - KEPT).exclude(state=State.PENDING.value)
    return old.delete()[0] + heard_prune(now=now)
