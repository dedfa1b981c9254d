"""PagerDuty's Events API v2: the integration key of a service, and the secret of its webhook that tells acknowledgements."""

import re

from django.conf import settings

from hawkops.core.errors import InvalidInput
from incidents.domain import pagerduty
from incidents.notify.shape import Answer, Checked, Sending, Way, fingerprint, posted

ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}")


def _check(key: str) -> Checked:
    key = key.strip()
    if not ROUTING_KEY.fullmatch(key):
        raise InvalidInput("An integration key of PagerDuty's Events API v2 has 32 letters and digits.")
    return Checked(key, f"integration key {fingerprint(key)}")


def _send(sending: Sending) -> Answer:
    event = pagerduty.event(sending.message, routing_key=sending.address, client_url=settings.CONSOLE_URL)
    url = settings.PAGERDUTY_URL.rstrip("/") + pagerduty.path(sending.message)
    answer = posted(url, json=event)
    return Answer(answer.outcome, answer.text.replace(sending.address, "•••"), status=answer.status, asked=answer.asked)


WAY = Way(
    _check,
    _send,
    asks="Integration key",
    help="In PagerDuty: the service → Integrations → Events API V2.",
    takes=pagerduty.takes,
    signs="Signing secret of its webhook",
)
