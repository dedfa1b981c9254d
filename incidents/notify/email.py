"""E-mail through the mail server of the settings. Messages of one thread answer each other."""

import hashlib
import smtplib
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.validators import validate_email

from hawkops.core import outbound
from hawkops.core.errors import InvalidInput
from incidents.domain.message import one_line
from incidents.domain.retrying import Outcome
from incidents.notify.shape import Answer, Checked, Sending, Way, said

RECIPIENTS_MOST = 20


def _check(text: str) -> Checked:
    found = list(dict.fromkeys(one.strip() for one in text.split(",") if one.strip()))
    if not 0 < len(found) <= RECIPIENTS_MOST:
        raise InvalidInput(f"Name 1 to {RECIPIENTS_MOST} addresses, with commas between them.")
    for one in found:
        try:
            validate_email(one)
        except ValidationError:
            raise InvalidInput(f"{one[:80]!r} is no e-mail address.") from None
    shown = found[0] if len(found) == 1 else f"{found[0]} and {len(found) - 1} more"
    return Checked(", ".join(found), shown)


def _send(sending: Sending) -> Answer:
    if not settings.EMAIL_HOST:
        return Answer(Outcome.REFUSED, "No mail server is set: SMTP_URL.")
    try:
        with get_connection(timeout=outbound.SECONDS) as line:
            sent = _mail(sending, line).send()
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return _answered(code, text)
    except smtplib.SMTPResponseException as error:
        return _answered(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:
        return Answer(Outcome.AGAIN, said(f"{settings.EMAIL_HOST}: {error or type(error).__name__}"))
    if not sent:
        return Answer(Outcome.AGAIN, f"{settings.EMAIL_HOST} took nothing")
    return Answer(Outcome.ACCEPTED, f"{settings.EMAIL_HOST} took it", 250)


def _mail(sending: Sending, line: BaseEmailBackend) -> EmailMessage:
    host = urlsplit(settings.CONSOLE_URL).hostname or "localhost"
    thread = hashlib.sha256(sending.message.thread.encode()).hexdigest()[:32]
    return EmailMessage(
        one_line(sending.message.headline)[:200],
        sending.message.text,
        to=[one.strip() for one in sending.address.split(",")],
        headers={
            "Message-ID": f"<{sending.key}@{host}>",
            "References": f"<{thread}@{host}>",
            "Auto-Submitted": "auto-generated",
        },
        connection=line,
    )


def _answered(code: int, text: bytes | str) -> Answer:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    again = not 500 <= code < 600
    return Answer(Outcome.AGAIN if again else Outcome.REFUSED, said(words), code)


WAY = Way(_check, _send, asks="Addresses", help="Through the mail server of SMTP_URL; several with commas between.")
