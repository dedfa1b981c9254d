"""Reading channels, deliveries and their receipts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Prefetch, Q, QuerySet

from hawkops.core import clock
from incidents.domain.message import Action
from incidents.domain.retrying import State
from incidents.models import Channel, Delivery, Dispatch, Receipt, Route
from rollout.selectors.endpoints import Endpoint

SHOWN = 30
TROUBLE, TROUBLED_SHOWN = timedelta(days=1), 10
TESTS = Action.TEST.value


@dataclass(frozen=True)
class Shown:
    """A channel with its newest test and how it fares."""

    channel: Channel
    test: Delivery | None
    waiting: int
    failing: Delivery | None

    @property
    def tested(self) -> bool:
        """Whether a test reached its present address."""
        return self.channel.verified_at is not None


def channels(environment: str) -> list[Shown]:
    """Return the channels in use with their newest tests: those that fail first. Four queries."""
    rows = list(
        Channel.objects.filter(environment=environment, archived_at=None).select_related("person").order_by("name")
    )
    tests = _newest(rows, Q(action=TESTS))
    newest = _newest(rows, Q(attempts__gt=0))
    waiting: dict[int, int] = {}
    for pk in Delivery.objects.filter(channel__in=rows, state=State.PENDING.value).values_list("channel_id", flat=True):
        waiting[pk] = waiting.get(pk, 0) + 1
    found = []
    for row in rows:
        last = newest.get(row.pk)
        found.append(
            Shown(row, tests.get(row.pk), waiting.get(row.pk, 0), last if last is not None and last.troubled else None)
        )
    return sorted(found, key=lambda one: (one.failing is None, one.tested, one.channel.name))


def _newest(rows: list[Channel], which: Q) -> dict[int, Delivery]:
    last = Delivery.objects.filter(which, channel__in=rows).values("channel_id").annotate(last=Max("id"))
    found = Delivery.objects.filter(pk__in=[one["last"] for one in last]).prefetch_related(_receipts())
    return {one.channel_id: one for one in found}


def _receipts() -> "Prefetch[str]":
    return Prefetch("receipts", Receipt.objects.order_by("-number"))


def deliveries(environment: str, *, limit: int = SHOWN) -> list[Delivery]:
    """Return the newest deliveries with their receipts, first those of the last day that are in trouble. Four queries."""
    rows = list(_deliveries(environment)[:limit])
    troubled = list(
        _deliveries(environment)
        .filter(Q(state__in=[State.FAILED.value, State.GIVEN_UP.value]) | Q(state=State.PENDING.value, attempts__gt=0))
        .filter(channel__archived_at=None, made_at__gte=clock.now() - TROUBLE)[:TROUBLED_SHOWN]
    )
    known = {one.pk for one in troubled}
    return [*troubled, *(one for one in rows if one.pk not in known)]


def _deliveries(environment: str) -> QuerySet[Delivery]:
    found = Delivery.objects.filter(channel__environment=environment).select_related("channel")
    return found.prefetch_related(_receipts()).order_by("-pk")


def deliveries_of(channel: Channel, *, limit: int = SHOWN) -> list[Delivery]:
    """Return a channel's newest deliveries with their receipts."""
    return list(_deliveries(channel.environment).filter(channel=channel)[:limit])


def delivery(environment: str, pk: int) -> Delivery | None:
    """Return one delivery with its receipts."""
    return _deliveries(environment).filter(pk=pk).first()


def routes() -> list[Route]:
    """Return what is told where, in order."""
    return list(Route.objects.all())


@dataclass(frozen=True)
class Reading:
    """How far the history has been read."""

    seq: int
    at: datetime | None


def reading() -> Reading:
    """Return how far the history has been read."""
    found = Dispatch.objects.filter(pk=1).first()
    return Reading(found.seq if found else 0, found.at if found else None)


def endpoints(environment: str) -> list[Endpoint]:
    """Return the team's channels as a release's box looks at them: when a test last reached each one. Two queries."""
    rows = [one for one in channels(environment) if one.channel.person_id is None and not one.channel.paused]
    return [_endpoint(one) for one in rows]


def _endpoint(one: Shown) -> Endpoint:
    test, channel = one.test, one.channel
    if test is None or test.made_at < channel.changed_at:
        return Endpoint(channel.name, None, None, "never tested")
    receipt = next(iter(test.receipts.all()), None)
    if test.state == State.SENT and test.done_at is not None:
        answer = f"answered {receipt.status}" if receipt and receipt.status else "took it"
        return Endpoint(channel.name, True, test.done_at, f"{answer} after {_seconds(test)}")
    if receipt is None:
        return Endpoint(channel.name, None, None, "a test is on its way")
    said = " ".join(str(part) for part in (receipt.status, receipt.answer) if part)
    return Endpoint(channel.name, False, receipt.at, f"test {test.state}: {said}"[:200])


def _seconds(test: Delivery) -> str:
    spent = ((test.done_at or clock.now()) - test.happened_at).total_seconds()
    return f"{spent:.1f} s"


def backlog(now: datetime) -> tuple[int, datetime | None, int]:
    """Return how many deliveries wait, when the oldest of them was made, and how many failed within a day. Two queries."""
    waiting = Delivery.objects.filter(state=State.PENDING.value)
    found = waiting.aggregate(many=Count("pk"), oldest=Min("made_at"))
    failed = Delivery.objects.filter(state=State.FAILED.value, made_at__gte=now - TROUBLE).count()
    return found["many"], found["oldest"], failed
