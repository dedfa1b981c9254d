"""The second path: when a step is late it pages by itself, by mail and webhook, past outbox, broker and workers.

Run by a process of its own (`hawkops.second_path`), which needs PostgreSQL and the network only. It also looks whether the
first path is behind, and then reads and audits in its place.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError

from hawkops.core import clock
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import change
from incidents.domain.escalation import CHECK, Target, severity_of
from incidents.domain.message import Action, Link, Message
from incidents.domain.retrying import Outcome
from incidents.models import Escalation, EscalationStep, SecondPage, SecondPath
from incidents.notify import email
from incidents.notify.shape import Answer, Sending, posted
from incidents.selectors import escalations as selectors
from incidents.selectors import oncall
from incidents.services import auditing, escalations
from monitoring.domain.criteria import Severity

log = logging.getLogger(__name__)
ACTOR = Actor.rule("second-path")
AGAIN_AFTER = timedelta(minutes=1)
TRIES_MOST = 30
# sent, though it could not be written down: not sent again by this process
_unwritten: set[int] = set()


def look() -> int:
    """Look once: audit, and page for what is late; return how many steps were paged for."""
    now = clock.now()
    ways = "; ".join(selectors.second_ways())[:200]
    SecondPath.objects.update_or_create(pk=1, defaults={"seen_at": now, "ways": ways})
    if selectors.unread(now) or any(step.state == "waiting" for step in selectors.overdue(now)):
        try:  # the messages wait in the outbox for whoever comes back; this path tells meanwhile
            escalations.escalate()
        except DatabaseError:
            log.exception("second_path.escalate_failed")
    try:
        auditing.audit()
    except DatabaseError:
        log.exception("second_path.audit_failed")
    late = {step.pk: step for step in selectors.late_steps()}
    # marked or not: what can't be audited is late all the same
    late |= {step.pk: step for step in selectors.overdue(now)}
    return sum(_page(step) for step in late.values() if _wanted(step))


def _wanted(step: EscalationStep) -> bool:
    if step.second_at is not None or step.pk in _unwritten:
        return False
    tries = list(step.second_pages.order_by("-pk").values_list("at", flat=True)[:TRIES_MOST])
    if tries and not selectors.second_ways() and not (settings.EMAIL_HOST and _addresses(step)):
        return False  # that there is no way was said; no further try makes one
    return not tries or (len(tries) < TRIES_MOST and clock.now() - tries[0] >= AGAIN_AFTER)


def _page(step: EscalationStep) -> bool:
    """Send by every way there is, and write down what came back."""
    row = step.escalation
    answers = send(_message(step), _addresses(step))
    if not answers:
        log.error("second_path.nobody_to_tell", extra={"step": step.pk})
        answers = [("none", Answer(Outcome.REFUSED, "Neither SECOND_PATH_EMAIL nor SECOND_PATH_WEBHOOK is set."))]
    accepted = any(answer.outcome is Outcome.ACCEPTED for _, answer in answers)
    try:
        _write(step, row, answers, accepted=accepted)
    except DatabaseError:
        log.exception("second_path.not_written", extra={"step": step.pk})
        if accepted:
            _unwritten.add(step.pk)
    return accepted


def _write(
    step: EscalationStep, row: Escalation, answers: Sequence[tuple[str, Answer]], *, accepted: bool
) -> None:  # fmt: skip
    now = clock.now()
    first = not step.second_pages.exists()
    with change(actor=ACTOR, environment=row.environment, cause=row.entry) as this:
        for way, answer in answers:
            SecondPage.objects.create(
                step=step,
                way=way,
                at=now,
                outcome=answer.outcome.value,
                status=answer.status,
                answer=answer.text.replace("\x00", ""),
            )
        if accepted:
            EscalationStep.objects.filter(pk=step.pk).update(second_at=now)
        if accepted or first:  # each further failure is no news
            after = {
                "title": row.title,
                "number": step.number,
                "target": step.target,
                "answers": {way: answer.outcome.value for way, answer in answers},
            }
            verb = "escalation.second_path_paged" if accepted else "escalation.second_path_failed"
            this.record(verb, subject=row.subject, after=after, reason=answers[0][1].text)
        announce("escalations", row.environment)


def _addresses(step: EscalationStep) -> list[str]:
    """Return the mail addresses: those of the settings, and that of whom the step would have told."""
    found = list(settings.SECOND_PATH_EMAIL)
    row = step.escalation
    person = None
    if step.target == Target.ON_CALL:
        person = oncall.on_call_now(row.environment).person
    elif step.target != Target.TEAM and (contact := oncall.contact_of(step.target)) is not None:
        person = contact.person
    if person is not None and person.is_active and person.email and person.email not in found:
        found.append(person.email)
    return found


def _message(step: EscalationStep) -> Message:
    row = step.escalation
    base = f"{settings.CONSOLE_URL}/{row.environment}"
    check = "A check that pages arrive failed; nothing else is known to be wrong." if row.kind == CHECK else ""
    return Message(
        title=f"Page not delivered, step {step.number} to {step.target_label}: {row.title}"[:200],
        severity=Severity.WARNING if row.kind == CHECK else severity_of(row.severity),
        environment=row.environment,
        action=Action.TRIGGER,
        thread=row.thread,
        verb="escalation.second_path_paged",
        at=step.due_at,
        sentences=tuple(
            filter(
                None,
                (
                    f"It was due at {step.due_at:%Y-%m-%d %H:%M:%S} UTC, and no channel has accepted it. "
                    f"{auditing.why_late(step)}",
                    check,
                    *_numbers(),
                ),
            )
        ),
        links=(Link("Acknowledge", f"{base}/escalations/{row.pk}"), Link("Emergency", f"{base}/emergency")),
        simulated=row.simulated,
    )


def _numbers() -> list[str]:
    return [f"{row.contact.label}: {', '.join(row.contact.ways)}" for row in oncall.contacts() if row.contact.ways]


def send(message: Message, addresses: Sequence[str]) -> list[tuple[str, Answer]]:
    """Send by mail and by webhook, whichever are set; return what each answered. Needs no database."""
    found = []
    now, key = clock.now(), f"msg_{uuid4().hex}"
    if addresses and settings.EMAIL_HOST:
        sending = Sending(address=", ".join(addresses), signing_secret="", message=message, key=key, at=now)
        found.append(("mail", email.WAY.send(sending)))
    if settings.SECOND_PATH_WEBHOOK:
        # Slack and its kin read `text`
        body = {"text": message.text, "type": message.verb, "data": message.document()}
        found.append(("webhook", posted(settings.SECOND_PATH_WEBHOOK, json=body)))
    return found


def database_gone(why: str) -> list[tuple[str, Answer]]:
    """Say that nothing can be read: neither pages nor flags' answers may be right now."""
    then = "No page is sent and no change is recorded until it is back."
    return _alarm("HawkOps can't read its database", "database", "escalation.second_path_blind", why, then)


def history_rewritten(why: str) -> list[tuple[str, Answer]]:
    """Say that the change history is no longer what its witness saw: somebody altered it in the database."""
    then = "Keep the witness's folder and the database as they are; history_verify names the first bad entry."
    return _alarm("The change history was altered", "history", "history.altered", why, then)


def _alarm(title: str, of: str, verb: str, *sentences: str) -> list[tuple[str, Answer]]:
    """Tell of the installation itself, which counts as production."""
    message = Message(
        title=title,
        severity=Severity.CRITICAL,
        environment="production",
        action=Action.TRIGGER,
        thread=f"hawkops:production:{of}",
        verb=verb,
        at=clock.now(),
        sentences=sentences,
    )
    return send(message, settings.SECOND_PATH_EMAIL)
