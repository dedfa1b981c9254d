"""From the history to the outbox: entries after a stored position become deliveries, in the transaction that moves it.

An entry that is committed is told, whatever dies in between; reading it again tells nobody twice.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils.http import urlencode

from hawkops.core import clock
from hawkops.core.access import can
from hawkops.core.live import announce
from hawkops.history.models import HistoryEntry
from incidents.domain.message import Action, Link, Message
from incidents.domain.news import Entry, News, news_of, together
from incidents.domain.retrying import State
from incidents.domain.routing import Route, Topic, route_of
from incidents.models import Channel, Delivery, Dispatch
from incidents.models import Route as RouteRow
from incidents.notify.registry import WAYS
from incidents.selectors.entries import entry_of
from incidents.services.acknowledging import acknowledger_of
from incidents.services.outbox import delivery_of
from monitoring.domain.alerting import OWNER
from monitoring.domain.criteria import Severity

log = logging.getLogger(__name__)
CHUNK = 200
THREAD_PREFIX = "hawkops"
# the worst first
GRAVITY = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


@dataclass
class _Bundle:
    """News of one thread that came at once and do the same to it."""

    environment: str
    thread: str
    action: Action
    topic: Topic
    severity: Severity
    news: list[News] = field(default_factory=list)

    def message(self) -> Message:
        """Return what is said of all of them."""
        title, sentences = together(self.news)
        first = self.news[0]
        base = f"{settings.CONSOLE_URL}/{self.environment}"
        links = [Link(first.path_text, f"{base}/{first.path}")]
        if self.action is Action.TRIGGER:
            if acknowledger_of(self.thread):
                asked = urlencode({"thread": self.thread})
                links.insert(0, Link("Acknowledge", f"{base}/notifications/acknowledge?{asked}"))
            links.append(Link("Emergency", f"{base}/emergency"))
        return Message(
            title=title,
            severity=self.severity,
            environment=self.environment,
            action=self.action,
            thread=self.thread,
            verb=first.entry.verb,
            at=first.entry.at,
            sentences=sentences,
            links=tuple(links),
            simulated=any(one.simulated for one in self.news),
            change=self.topic is Topic.DEPLOYMENTS,
        )


def dispatch_all() -> int:
    """Read on until the end of the history; return how many deliveries were made."""
    made = 0
    while True:
        read, new = dispatch()
        made += new
        if read < CHUNK:
            return made


def dispatch() -> tuple[int, int]:
    """Read one chunk of entries; return how many were read and how many deliveries that made.

    Where another reads just now it is left to them.
    """
    with transaction.atomic():
        place = Dispatch.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=1).first()
        if place is None:
            return 0, 0
        entries = list(
            HistoryEntry.objects.select_related("personal").filter(seq__gt=place.seq).order_by("seq")[:CHUNK]
        )
        if not entries:
            return 0, 0
        deliveries = _deliveries(_bundles(entries))
        place.seq, place.at = entries[-1].seq, clock.now()
        place.save(update_fields=["seq", "at"])
        for environment in sorted({one.channel.environment for one in deliveries}):
            announce("notifications", environment)
    return len(entries), len(deliveries)


def _bundles(entries: Iterable[HistoryEntry]) -> list[_Bundle]:
    routes = [row.domain() for row in RouteRow.objects.all()]
    found: list[_Bundle] = []
    # the newest bundle of each thread: only what follows it directly joins it
    newest: dict[tuple[str, str], _Bundle] = {}
    for entry in entries:
        news = _news(entry)
        placed = _placed(news, routes) if news else None
        if news is None or placed is None:
            continue
        topic, severity = placed
        environment = entry.environment or OWNER
        thread = f"{THREAD_PREFIX}:{environment}:{news.thread or f'entry:{entry.seq}'}"
        last = newest.get((environment, thread))
        if last is None or (last.action, last.topic) != (news.action, topic):
            last = newest[environment, thread] = _Bundle(environment, thread, news.action, topic, severity)
            found.append(last)
        last.news.append(news)
        last.severity = min(last.severity, severity, key=GRAVITY.index)
    return found


def _news(entry: HistoryEntry) -> News | None:
    """Return what an entry tells. One that can't be understood is told plainly: it must hold up no other."""
    plain = entry_of(entry)
    try:
        return news_of(plain)
    except (TypeError, ValueError, KeyError, AttributeError):
        log.exception("notifications.entry_not_understood", extra={"seq": entry.seq})
        return None if entry.hidden else _plainly(plain)


def _plainly(entry: Entry) -> News:
    return News(
        entry=entry,
        about=entry.subject.partition(":")[2],
        severity=Severity.WARNING,
        action=Action.TELL,
        thread="",
        title=f"{entry.verb} {entry.subject}"[:200],
        sentences=(),
        path=f"history/{entry.seq}",
        path_text="Entry in the history",
    )


def _placed(news: News, routes: Sequence[Route]) -> tuple[Topic, Severity] | None:
    return route_of(routes, verb=news.entry.verb, about=news.about, severity=news.severity)


def _deliveries(bundles: Sequence[_Bundle]) -> list[Delivery]:
    """Make the deliveries of bundles, in their order."""
    if not bundles:
        return []
    channels = [
        one for one in Channel.objects.filter(archived_at=None, paused=False).select_related("person") if _may_hear(one)
    ]
    told = _told(channels, {one.thread for one in bundles})
    made: list[Delivery] = []
    for bundle in bundles:
        message = _settled(bundle)
        for channel in channels:
            if not _hears(channel, bundle, message, open_=told.get((channel.pk, bundle.thread), False)):
                continue
            entry, topic = bundle.news[0].entry.seq, bundle.topic.value
            made.append(delivery_of(channel, message, entry=entry, topic=topic))
            if message.action in (Action.TRIGGER, Action.RESOLVE):
                told[channel.pk, bundle.thread] = message.action is Action.TRIGGER
    Delivery.objects.bulk_create(made, ignore_conflicts=True)
    return made


def _may_hear(channel: Channel) -> bool:
    """Say whether whose own channel it is may still read what happens there."""
    person = channel.person
    return person is None or (person.is_active and can(person, channel.environment))


def _settled(bundle: _Bundle) -> Message:
    """Return the message; it ends or acknowledges its thread only when nothing else in it still stands."""
    message = bundle.message()
    if bundle.action not in (Action.RESOLVE, Action.ACKNOWLEDGE):
        return message
    keeper = acknowledger_of(bundle.thread)
    left = keeper.standing(bundle.environment, bundle.thread, bundle.action) if keeper else 0
    if not left:
        return message
    word = "still need somebody" if bundle.action is Action.ACKNOWLEDGE else "still stand"
    sentences = (*message.sentences, f"{left} more of its group {word}.")
    return Message(**{**message.__dict__, "action": Action.TELL, "sentences": sentences, "change": False})


def _hears(channel: Channel, bundle: _Bundle, message: Message, *, open_: bool) -> bool:
    """Say whether a channel is told: by its topics and severities; of an end, also when it was told of the beginning."""
    if channel.environment != bundle.environment or not WAYS[channel.kind].takes(message):
        return False
    if _is_about(channel, bundle):  # it would be told that it can't be told
        return False
    if bundle.action in (Action.RESOLVE, Action.ACKNOWLEDGE) and acknowledger_of(bundle.thread):
        return open_
    if bundle.action is Action.RESOLVE and open_:
        return True
    return bundle.topic in channel.topics and bundle.severity in channel.severities


def _is_about(channel: Channel, bundle: _Bundle) -> bool:
    subject = f"channel:{channel.pk}"
    return any(one.entry.verb.startswith("notification.") and one.entry.subject == subject for one in bundle.news)


def _told(channels: Sequence[Channel], threads: set[str]) -> dict[tuple[int, str], bool]:
    """Return which threads stand open at which channels, as far as they were told."""
    newest = (
        Delivery.objects.filter(
            channel__in=channels,
            thread__in=threads,
            action__in=[Action.TRIGGER.value, Action.RESOLVE.value],
        )
        .exclude(state__in=[State.FAILED.value, State.GIVEN_UP.value])
        .values("channel_id", "thread")
        .annotate(last=Max("id"))
        .values_list("last", flat=True)
    )
    rows = Delivery.objects.filter(pk__in=list(newest)).values_list("channel_id", "thread", "action")
    return {(channel, thread): action == Action.TRIGGER for channel, thread, action in rows}
