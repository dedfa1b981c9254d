"""`python -m hawkops.second_path`: pages when the first path did not. Needs no Celery, no broker, no console."""

import argparse
import logging
import os
import signal
import threading
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")
django.setup()

# isort: split
from django.conf import settings
from django.db import Error, connections

from hawkops.core import logs
from hawkops.vitals.look import look as vitals_look
from incidents.domain.retrying import Outcome
from incidents.notify.shape import posted
from incidents.services import second_path

log = logging.getLogger(__name__)
EVERY_SECONDS = 15.0
# so long without the database, and that is told once
BLIND_SECONDS = 120.0
BEAT_SECONDS = 60.0
VITALS_AFTER_SECONDS = 120.0


class Loop:
    """Look again and again; without the database for long, say so once until it is back."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS, blind_seconds: float = BLIND_SECONDS) -> None:
        self.ending = threading.Event()
        self._every_seconds = every_seconds
        self._blind_seconds = blind_seconds
        self._blind_since: float | None = None
        self._told = False
        self._began = time.monotonic()
        self._beat_at: float | None = None

    def run(self) -> None:
        """Look until told to end."""
        while not self.ending.is_set():
            self.once()
            self.ending.wait(self._every_seconds)

    def once(self) -> None:
        """Look once."""
        try:
            paged = second_path.look()
        except Error as error:
            log.warning("second_path.database", extra={"error": type(error).__name__})
            self._blind(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        except Exception:
            log.exception("second_path.failed")
        else:
            self._blind_since, self._told = None, False
            self._beat()
            if paged:
                log.error("second_path.paged", extra={"steps": paged})
            self._vitals()
        finally:
            # a connection that broke must not be used again, and none is held while waiting
            connections.close_all()

    def _vitals(self) -> None:
        """Look at HawkOps' own signs of life; whatever fails there must not stop the pages."""
        now = time.monotonic()
        # whoever has just started gives the others time to start as well
        if now - self._began < VITALS_AFTER_SECONDS:
            return
        try:
            if told := vitals_look():
                log.error("second_path.vitals_told", extra={"vitals": told})
        except Exception:
            log.exception("second_path.vitals_failed")

    def _beat(self) -> None:
        """Tell the address elsewhere that this host lives and reads its database; its silence is the news.

        A vital sign that fails does not stop it: that is told by name, and this is for when nothing can be told.
        """
        now = time.monotonic()
        if not settings.HEARTBEAT_URL or (self._beat_at is not None and now - self._beat_at < BEAT_SECONDS):
            return
        self._beat_at = now
        answer = posted(settings.HEARTBEAT_URL, json={"from": settings.CONSOLE_URL})
        if answer.outcome is not Outcome.ACCEPTED:
            log.warning("second_path.heartbeat_refused", extra={"answer": answer.text})

    def _blind(self, why: str) -> None:
        now = time.monotonic()
        self._blind_since = self._blind_since if self._blind_since is not None else now
        if not self._told and now - self._blind_since >= self._blind_seconds:
            answers = second_path.database_gone(why)
            self._told = bool(answers)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m hawkops.second_path", description="Page when nobody else did.")
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, metavar="SECONDS")
    parser.add_argument("--blind-after", type=float, default=BLIND_SECONDS, metavar="SECONDS")
    options = parser.parse_args()
    logs.process_named("second-path")
    loop = Loop(every_seconds=options.every, blind_seconds=options.blind_after)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.ending.set())
    loop.run()


if __name__ == "__main__":
    main()
