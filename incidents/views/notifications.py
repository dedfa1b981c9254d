"""Notifications: channels, what is told where, deliveries with their receipts; and acknowledging, by page and by pager."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from hawkops.accounts.models import User
from hawkops.core import clock
from hawkops.core.access import Role, can, can_in_all, requires, requires_everywhere
from hawkops.core.bounded import Malformed, fit, json_loads
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, InvalidInput, NotFound
from hawkops.core.htmx import render_page, request_id, see_other
from hawkops.core.sealing import Unsealable, unseal
from hawkops.history.actors import Actor
from incidents.domain import pagerduty as pager
from incidents.domain.routing import Route, Topic
from incidents.models import Channel
from incidents.models.notifications import Kind
from incidents.notify.registry import WAYS
from incidents.selectors import notifications as selectors
from incidents.services import acknowledging
from incidents.services import channels as services
from incidents.services.channels import Rules
from monitoring.domain.criteria import Severity

MAY_TEST = (Role.OPERATOR, Role.RELEASER)
MAY_ACKNOWLEDGE = (Role.OPERATOR, Role.RELEASER)
BLANK_ROWS = 2


@require_safe
@requires()
def notifications(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the channels, those that fail first, what is told where, and the newest deliveries with their receipts."""
    found = selectors.channels(environment)
    context = {
        "channels": found,
        "failing": [one for one in found if one.failing],
        "untested": [one for one in found if not one.tested],
        "kinds": Kind.choices,
        "deliveries": selectors.deliveries(environment),
        "routes": selectors.routes(),
        "topics": list(Topic),
        "heard": {topic.value: [one.channel for one in found if topic in one.channel.topics] for topic in Topic},
        "reading": selectors.reading(),
        "may_change": can(request.user, environment, Role.ADMIN),
        "may_test": can(request.user, environment, *MAY_TEST),
    }
    return render_page(request, "incidents/notifications.html", context)


# ---- channels ----


@require_safe
@requires()
def channel_new(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the form of one kind."""
    return _new(request, environment, request.GET)


@require_POST
@requires(Role.ADMIN)
def channel_create(request: HttpRequest, environment: str) -> HttpResponse:
    """Make a channel; the secret it signs with, where one was made, is shown once."""
    given = request.POST
    try:
        channel, secret = services.channel_create(
            environment=environment,
            name=given.get("name", ""),
            kind=given.get("kind", ""),
            address=given.get("address", ""),
            signing_secret=given.get("signing_secret", ""),
            rules=_rules(given),
            person=_person(given.get("person", "")),
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as error:
        return _new(request, environment, given, error.message)
    if secret:
        request.session["shown_signing_secret"] = secret
    messages.success(request, f"{channel.name} is made. Send it a test.")
    return see_other("incidents:channel", environment=environment, pk=channel.pk)


def _new(request: HttpRequest, environment: str, given: QueryDict, refusal: str = "") -> HttpResponse:
    kind = given.get("kind", "")
    if kind not in WAYS:
        kind = Kind.SLACK.value
    context = {
        "kind": kind,
        "label": Kind(kind).label,
        "way": WAYS[kind],
        "kinds": Kind.choices,
        "given": given,
        "refusal": refusal,
        "people": User.objects.filter(is_active=True).order_by("username"),
        "may_change": can(request.user, environment, Role.ADMIN),
        **_picked(given if refusal else None),
    }
    return render_page(request, "incidents/channel_new.html", context, status=422 if refusal else 200)


def _rules(given: QueryDict) -> Rules:
    return Rules(given.getlist("topics"), given.getlist("severities"))


def _picked(given: QueryDict | None, channel: Channel | None = None) -> dict[str, Any]:
    """Return topics and severities with what is ticked: as it was sent, as it is, or all."""
    topics: list[str] = [*Topic]
    severities: list[str] = [*Severity]
    if channel is not None:
        topics, severities = channel.topics, channel.severities
    if given is not None:
        topics, severities = given.getlist("topics"), given.getlist("severities")
    return {
        "topics": [(one, one in topics) for one in Topic],
        "severities": [(one.value, one.value in severities) for one in Severity],
    }


def _person(text: str) -> User | None:
    """Return whose own channel it is; None for the team's. Raises NotFound."""
    if not text:
        return None
    found = User.objects.filter(username=text, is_active=True).first()
    if found is None:
        raise NotFound(f"There is nobody called {text[:80]!r}.")
    return found


@require_safe
@requires()
def channel(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show one channel with its deliveries."""
    return _channel(request, environment, services.channel_of(environment, pk))


@require_POST
@requires()
def channel_change(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Change a channel. Whose own it is may change what it takes, administrators everything."""
    found, given = services.channel_of(environment, pk), request.POST
    administers = can(request.user, environment, Role.ADMIN)
    if not _may_change(request, found):
        raise PermissionDenied("Changing a channel needs the role admin, or that it is your own.")
    try:
        moved = services.channel_change(
            channel=found,
            name=given.get("name", "") if administers else found.name,
            rules=_rules(given),
            paused=given.get("paused") == "1",
            address=given.get("address", "") if administers else "",
            signing_secret=given.get("signing_secret", "") if administers else "",
            actor=Actor.person(request.user),
            reason=given.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as error:
        return _channel(request, environment, found, error.message)
    messages.success(request, f"{found.name} is saved." if moved else "Nothing needed to change.")
    return see_other("incidents:channel", environment=environment, pk=pk)


def _may_change(request: HttpRequest, found: Channel) -> bool:
    own = found.person_id is not None and found.person_id == request.user.pk
    return own or can(request.user, found.environment, Role.ADMIN)


def _channel(request: HttpRequest, environment: str, found: Channel, refusal: str = "") -> HttpResponse:
    administers = can(request.user, environment, Role.ADMIN)
    context = {
        "channel": found,
        "way": WAYS[found.kind],
        "refusal": refusal,
        "given": request.POST,
        "administers": administers,
        "may_change": _may_change(request, found),
        "may_test": can(request.user, environment, *MAY_TEST),
        "shown_secret": request.session.pop("shown_signing_secret", "") if administers else "",
        "deliveries": selectors.deliveries_of(found),
        "is_pager": found.kind == Kind.PAGERDUTY,
        **_picked(request.POST if refusal else None, found),
    }
    return render_page(request, "incidents/channel.html", context, status=422 if refusal else 200)


@require_POST
@requires(*MAY_TEST)
def channel_test(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Send a test; its receipt comes by itself."""
    found = services.channel_of(environment, pk)
    try:
        services.channel_test(channel=found, actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"A test of {found.name} is on its way; its receipt appears under its deliveries.")
    return see_other("incidents:channel", "#deliveries", environment=environment, pk=pk)


@require_POST
@requires(Role.ADMIN)
def channel_archive(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a channel out of use."""
    found = services.channel_of(environment, pk)
    left = services.channel_archive(
        channel=found,
        actor=Actor.person(request.user),
        reason=request.POST.get("reason", ""),
        request_id=request_id(request),
    )
    also = f" {left} messages that waited for it are given up." if left else ""
    messages.success(request, f"{found.name} is archived and its address forgotten.{also}")
    return see_other("incidents:notifications", environment=environment)


# ---- deliveries ----


@require_safe
@requires()
def delivery(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Show one message as it was told, and a receipt of each attempt."""
    found = selectors.delivery(environment, pk)
    if found is None:
        raise Http404("There is no such delivery here.")
    context = {
        "delivery": found,
        "message": found.told,
        "may_retry": can(request.user, environment, *MAY_TEST) and found.state in ("failed", "given up"),
    }
    return render_page(request, "incidents/delivery.html", context)


@require_POST
@requires(*MAY_TEST)
def delivery_retry(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Have what was refused or given up tried again."""
    found = selectors.delivery(environment, pk)
    if found is None:
        raise Http404("There is no such delivery here.")
    try:
        services.delivery_retry(delivery=found, actor=Actor.person(request.user), request_id=request_id(request))
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    return see_other("incidents:delivery", environment=environment, pk=pk)


# ---- what is told where ----


@require_safe
@requires()
def routes(request: HttpRequest, environment: str) -> HttpResponse:
    """Show the table."""
    return _routes_page(request, environment, [_form_row(row.domain()) for row in selectors.routes()])


@require_POST
@requires()
@requires_everywhere(Role.ADMIN)
def routes_save(request: HttpRequest, environment: str) -> HttpResponse:
    """Replace the table, which counts in every environment."""
    rows = _rows(request.POST)
    try:
        moved = services.routes_save(
            rows=[_route(row) for row in rows if row["verb"]],
            actor=Actor.person(request.user),
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        return _routes_page(request, environment, rows, refusal.message)
    messages.success(
        request, "The table is saved; it counts from the next change on." if moved else "It is so already."
    )
    return see_other("incidents:routes", environment=environment)


def _routes_page(
    request: HttpRequest, environment: str, rows: list[dict[str, str]], refusal: str = ""
) -> HttpResponse:  # fmt: skip
    blank = {"verb": "", "about": "", "of_severity": "", "topic": "", "severity": ""}
    context = {
        "rows": [*rows, *([blank] * BLANK_ROWS)],
        "topics": list(Topic),
        "severities": [one.value for one in Severity],
        "refusal": refusal,
        "may_change": can_in_all(request.user, Environment, Role.ADMIN),
    }
    return render_page(request, "incidents/routes.html", context, status=422 if refusal else 200)


def _form_row(row: Route) -> dict[str, str]:
    return {
        "verb": row.verb,
        "about": "" if row.about == "*" else row.about,
        "of_severity": row.of_severity or "",
        "topic": row.topic or "",
        "severity": row.severity or "",
    }


def _rows(given: QueryDict) -> list[dict[str, str]]:
    """Return the rows as they were sent; a row that lacks a column keeps what it has."""
    columns = {name: given.getlist(name) for name in ("verb", "about", "of_severity", "topic", "severity")}
    return [
        {name: values[place].strip() if place < len(values) else "" for name, values in columns.items()}
        for place in range(len(columns["verb"]))
    ]


def _route(row: dict[str, str]) -> Route:
    try:
        return Route(
            verb=row["verb"],
            about=row["about"] or "*",
            of_severity=Severity(row["of_severity"]) if row["of_severity"] else None,
            topic=Topic(row["topic"]) if row["topic"] else None,
            severity=Severity(row["severity"]) if row["severity"] else None,
        )
    except ValueError as error:
        raise InvalidInput(f"{error}: choose one of the list.") from error


# ---- acknowledging ----


@require_safe
@requires()
def acknowledge(request: HttpRequest, environment: str) -> HttpResponse:
    """Show what a message was about, with one press; looking acknowledges nothing."""
    thread = request.GET.get("thread", "")
    found = acknowledging.standing(environment, thread)
    context = {
        "thread": thread,
        "found": found,
        "open": [one for one in found if not one.taken_by],
        "may_act": can(request.user, environment, *MAY_ACKNOWLEDGE),
    }
    return render_page(request, "incidents/acknowledge.html", context)


@require_POST
@requires(*MAY_ACKNOWLEDGE)
def acknowledge_press(request: HttpRequest, environment: str) -> HttpResponse:
    """Take what a message was about."""
    try:
        count = acknowledging.acknowledge(
            environment=environment,
            thread=request.POST.get("thread", ""),
            actor=Actor.person(request.user),
            through="page",
            reason=request.POST.get("reason", ""),
            request_id=request_id(request),
        )
    except HawkOpsError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{count} {'is' if count == 1 else 'are'} yours. Whoever was told hears of it.")
    return see_other("monitoring:alerts", environment=environment)


@csrf_exempt
@login_not_required
@require_POST
def pagerduty(request: HttpRequest, environment: str, pk: int) -> HttpResponse:
    """Take a webhook of PagerDuty, signed with the channel's secret: what is acknowledged there is acknowledged here."""
    found = Channel.objects.filter(environment=environment, pk=pk, kind=Kind.PAGERDUTY, archived_at=None).first()
    secret = _secret(found)
    if found is None or not secret:
        raise Http404
    if int(request.headers.get("Content-Length") or 0) > pager.BODY_BYTES_MOST:
        return JsonResponse({"error": f"A webhook has at most {pager.BODY_BYTES_MOST} bytes."}, status=413)
    body = request.read(pager.BODY_BYTES_MOST + 1)
    if not pager.signed(body, request.headers.get("X-PagerDuty-Signature", ""), secret):
        return JsonResponse({"error": "The signature is missing or wrong."}, status=403)
    try:
        heard = pager.heard(fit(json_loads(body)), now=clock.now())
    except Malformed as error:
        return JsonResponse({"error": error.message}, status=error.status)
    except ValueError as error:
        return JsonResponse({"error": f"That is no event: {error}."}, status=400)
    taken = acknowledging.pagerduty_hear(channel=found, heard=heard, request_id=request_id(request))
    return JsonResponse({"acknowledged": taken})


def _secret(found: Channel | None) -> str:
    try:
        return unseal(found.signing_secret) if found else ""
    except Unsealable:
        return ""
