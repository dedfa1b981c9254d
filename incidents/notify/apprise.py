"""Whatever Apprise knows, in a process of its own: it opens connections by itself, and there they can be watched.

What is refused elsewhere is refused there too: private networks, programs and files of this machine.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any

from hawkops.core import env
from hawkops.core.errors import InvalidInput
from incidents.domain.message import Action
from incidents.domain.retrying import Outcome, outcome_of
from incidents.notify.shape import Answer, Checked, Sending, Way, fingerprint, said

SECONDS = 30
STATUS = re.compile(r"error=(\d{3})\b")
TYPES = {"critical": "failure", "warning": "warning", "info": "info"}


def _asked(job: dict[str, Any]) -> dict[str, Any]:
    """Hand the child a job and return what it says. Raises subprocess.SubprocessError, ValueError."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "incidents.notify.apprise_child"],
        input=json.dumps({**job, "private": env.flag("OUTBOUND_PRIVATE")}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        cwd=env.ROOT,
        env=kept,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if not isinstance(found, dict):
        raise ValueError("the child said nothing")
    return found


def _check(url: str) -> Checked:
    url = url.strip()
    if not url or len(url) > 2_000:
        raise InvalidInput("An Apprise URL has 1 to 2 000 characters.")
    try:
        found = _asked({"url": url})
    except (subprocess.SubprocessError, ValueError, IndexError, OSError) as error:
        raise InvalidInput(f"Apprise can't look at that now: {type(error).__name__}.") from error
    if not found.get("fit"):
        raise InvalidInput(
            said(f"That is no URL for Apprise here: {found.get('said', '')}", url)
            + " Its forms stand on github.com/caronc/apprise/wiki."
        )
    return Checked(url, f"{found.get('service', '')} {fingerprint(url)}".strip()[:200])


def _send(sending: Sending) -> Answer:
    message = sending.message
    job = {
        "url": sending.address,
        "title": message.headline,
        "body": "\n".join(message.text.splitlines()[1:]),
        "type": "success" if message.action is Action.RESOLVE else TYPES[message.severity.value],
    }
    try:
        found = _asked(job)
    except (subprocess.SubprocessError, ValueError, IndexError, OSError) as error:
        return Answer(Outcome.AGAIN, f"Apprise: {type(error).__name__}")
    text = said(str(found.get("said", "")), sending.address)
    if found.get("sent"):
        return Answer(Outcome.ACCEPTED, text or f"{found.get('service', 'Apprise')} took it")
    if found.get("refused") or not found.get("fit"):
        return Answer(Outcome.REFUSED, text)
    status = STATUS.search(text)
    if status is None:
        return Answer(Outcome.AGAIN, text or "Apprise could not send it")
    return Answer(outcome_of(int(status[1])), text, int(status[1]))


WAY = Way(
    _check,
    _send,
    asks="Apprise URL",
    help="For everything else (Teams, Discord, Telegram, Matrix, SMS…): github.com/caronc/apprise/wiki.",
)
