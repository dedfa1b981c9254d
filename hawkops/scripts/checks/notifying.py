"""Telling the security team: every channel that is set, each with its receipt. Never silent success without a channel."""

import argparse
from collections.abc import Iterator

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from hawkops.core import clock, outbound
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.services import change
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured
from hawkops.scripts.probes.measuring import Exit

SEVERITIES = ("low", "medium", "high", "critical")


def options(parser: argparse.ArgumentParser) -> None:
    """Add what is told."""
    parser.add_argument("--severity", choices=SEVERITIES, required=True)
    parser.add_argument("--type", dest="kind", required=True, help="litert_incident, for example")


def security_team_notify(given: argparse.Namespace) -> Iterator[Finding]:
    """Send one message through each channel and record what came back."""
    kind = given.kind.strip()[:80]
    subject = f"[{given.severity.upper()}] {kind}"
    text = f"{subject}\nReported by HawkOps at {clock.now():%Y-%m-%d %H:%M:%S} UTC.\n{settings.CONSOLE_URL}"
    found = [*_webhook(text), *_mail(subject, text)]
    if not found:
        yield unmeasured("Security team", "no channel is set: SECURITY_WEBHOOK, or SECURITY_EMAIL with SMTP_URL")
        return
    with change(actor=Actor.rule("notify-security-team"), reason=subject) as this:
        receipts = {finding.title: finding.sentence for finding in found}
        verb = "security.team_notified" if any(f.outcome is Exit.PASSED for f in found) else "security.team_unreached"
        this.record(
            verb, subject="team:security", after={"severity": given.severity, "type": kind, "receipts": receipts}
        )
    yield from found


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
    if not settings.SECURITY_EMAIL or not settings.EMAIL_HOST:
        return
    try:
        with get_connection(timeout=outbound.SECONDS) as line:
            sent = EmailMessage(subject, text, to=[settings.SECURITY_EMAIL], connection=line).send()
    except OSError as error:
        yield failed("E-mail", f"{settings.EMAIL_HOST}: {error}")
        return
    yield (passed if sent else failed)(
        "E-mail", f"{settings.EMAIL_HOST} took {sent} message for {settings.SECURITY_EMAIL}"
    )
