"""Telling the security team: every channel that is set, each with its receipt. Never silent success without a channel.

What this sends itself goes by its own settings. The channels that people have set up, and the contact table, are known to an
app above: it registers how the news of a lockdown fared there, and which addresses the team has.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from hawkops.core import clock, outbound
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit

SEVERITIES = ("low", "medium", "high", "critical")
# how long it waits for the receipts of channels, and how often it looks
WAIT_SECONDS, LOOK_SECONDS = 30.0, 1.0


@dataclass(frozen=True)
class Told:
    """A channel that the news goes to. `delivered` is None while it is on its way; `number` is the delivery's."""

    channel: str
    delivered: bool | None
    sentence: str
    number: int | None = None


# environment, empty for any -> how the news of its lockdown fared at the security team's channels
Receipts = Callable[[str], Iterable[Told]]
# the team's e-mail addresses, for where no setting has one
Addresses = Callable[[], Iterable[str]]
_sources: list[tuple[Receipts, Addresses]] = []


def register(receipts: Receipts, addresses: Addresses) -> None:
    """Make known who keeps channels and contacts; registering twice counts once."""
    if (receipts, addresses) not in _sources:
        _sources.append((receipts, addresses))


def options(parser: argparse.ArgumentParser) -> None:
    """Add what is told."""
    parser.add_argument("--severity", choices=SEVERITIES, required=True)
    parser.add_argument("--type", dest="kind", required=True, help="litert_incident, for example")


def security_team_notify(given: argparse.Namespace) -> Iterator[Finding]:
    """Send one message through each channel of its own, wait for the receipts of the others, record what came back.

    The team is told where any one of them reached it; the others that failed are listed beside it.
    """
    kind = given.kind.strip()[:80]
    environment = _environment()
    subject = f"[{given.severity.upper()}] {kind}"
    where = f" in {environment}" if environment else ""
    text = f"{subject}{where}\nReported by HawkOps at {clock.now():%Y-%m-%d %H:%M:%S} UTC.\n{settings.CONSOLE_URL}"
    found = [*_webhook(text), *_mail(subject, text), *_channels(environment)]
    if not found:
        yield unmeasured(
            "Security team",
            "no channel is set: SECURITY_WEBHOOK, or SECURITY_EMAIL with SMTP_URL,"
            " or a channel for security on the page Notifications",
        )
        return
    told = any(one.outcome is Exit.PASSED for one in found)
    with change(actor=Actor.rule("notify-security-team"), environment=environment, reason=subject) as this:
        receipts = {finding.title: finding.sentence for finding in found}
        verb = "security.team_notified" if told else "security.team_unreached"
        this.record(
            verb, subject="team:security", after={"severity": given.severity, "type": kind, "receipts": receipts}
        )
    for one in found:
        missed = told and one.outcome is Exit.FAILED
        yield replace(one, outcome=None, sentence=f"did not reach it: {one.sentence}") if missed else one


def _environment() -> str:
    """Return the environment that it runs for; empty when it was typed on a shell without one."""
    given = os.environ.get("HAWKOPS_ENVIRONMENT", "")
    return given if given in set(Environment) else ""


def _webhook(text: str) -> Iterator[Finding]:
    url = settings.SECURITY_WEBHOOK
    if not url:
        return
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    try:
        receipt = outbound.post(url, json={"text": escaped})
    except (outbound.Undelivered, HawkOpsError) as error:
        yield failed("Webhook", str(error))
        return
    yield (passed if receipt.accepted else failed)("Webhook", f"answered {receipt.status} {receipt.text[:80]}")


def _mail(subject: str, text: str) -> Iterator[Finding]:
    if not settings.EMAIL_HOST:
        return
    known = (address for _, addresses in _sources for address in addresses())
    to = [settings.SECURITY_EMAIL] if settings.SECURITY_EMAIL else sorted(set(known))
    if not to:
        return
    try:
        with get_connection(timeout=outbound.SECONDS) as line:
            sent = EmailMessage(subject, text, to=to, connection=line).send()
    except OSError as error:
        yield failed("E-mail", f"{settings.EMAIL_HOST}: {error}")
        return
    yield (passed if sent else failed)("E-mail", f"{settings.EMAIL_HOST} took {sent} message for {', '.join(to)}")


def _channels(environment: str) -> Iterator[Finding]:
    """Wait until no channel has the news before it, or one has taken it; what is still on its way then has not arrived."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        found = [one for receipts, _ in _sources for one in receipts(environment)]
        settled = any(one.delivered for one in found) or all(one.delivered is not None for one in found)
        if settled or time.monotonic() >= until:
            break
        time.sleep(LOOK_SECONDS)
    for one in found:
        late = f"no receipt within {WAIT_SECONDS:g} s, {one.sentence}" if one.delivered is None else one.sentence
        yield (passed if one.delivered else failed)(one.channel, late)
