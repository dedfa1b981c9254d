"""Forgetting a person: their own channels with their addresses, their ways in the contact table, their calendars."""

from hawkops.core import clock
from hawkops.core.erasure import Named
from hawkops.core.live import announce
from incidents.domain.retrying import State
from incidents.domain.rotation import SwapState
from incidents.models import CalendarLink, Channel, Contact, Delivery, Swap


def channels_forget(named: Named) -> int:
    """Close the person's own channels and drop what they say of them; return how many there were.

    A message to one that ended stays as the proof that somebody was told, until it is old.
    """
    now, closed = clock.now(), 0
    for channel in Channel.objects.select_for_update(no_key=True).filter(person_id=named.pk):
        channel.archived_at = channel.archived_at or now
        channel.name, channel.hint = f"{named.reference} {channel.kind} {channel.pk}", ""
        channel.address = channel.signing_secret = ""
        channel.save(update_fields=["archived_at", "name", "hint", "address", "signing_secret"])
        Delivery.objects.filter(channel=channel, state=State.PENDING.value).update(
            state=State.GIVEN_UP.value, done_at=now, lease="", leased_until=None
        )
        announce("notifications", channel.environment)
        closed += 1
    return closed


def contacts_forget(named: Named) -> int:
    """Empty the rows of the contact table that are the person's; whoever takes the role enters their own."""
    return Contact.objects.filter(person_id=named.pk).update(person=None, primary="", secondary="", emergency="")


def calendars_forget(named: Named) -> int:
    """Close the addresses under which the person's calendar reads shifts."""
    return CalendarLink.objects.filter(person_id=named.pk).delete()[0]


def swaps_forget(named: Named) -> int:
    """Take back what the person proposed or was asked, and nobody answered. Their shifts show as a gap from now on."""
    waiting = Swap.objects.filter(state=SwapState.PROPOSED.value)
    theirs = waiting.filter(proposer_id=named.pk) | waiting.filter(other_id=named.pk)
    return theirs.update(state=SwapState.WITHDRAWN.value, answered_at=clock.now())
