"""`python -m hawkops.witness`: writes down, outside the database, what the history is each second.

Needs PostgreSQL and its folder only: no Celery, no broker, no console.
"""

import argparse
import logging
import os
import signal
import threading
import time
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")
django.setup()

# isort: split
from django.conf import settings
from django.db import Error, connections

from hawkops.core import logs
from hawkops.core.errors import HawkOpsError
from hawkops.history.witnessed import Folder
from hawkops.history.witnessing import Look, checkpoint_look, told_elsewhere, witness_look
from incidents.services import second_path

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0
# a checkpoint is due once an hour; asking is cheap
CHECKPOINT_SECONDS = 30.0
PAUSE_SECONDS_MOST = 30.0


class Loop:
    """Look again and again. What is amiss is told once by the second path, and again when it changes."""

    def __init__(self, folder: Folder, *, every_seconds: float = EVERY_SECONDS) -> None:
        self.ending = threading.Event()
        self._folder = folder
        self._every_seconds = every_seconds
        self._checkpoint_at = 0.0
        self._told = ""
        self._refused = 0
        self._elsewhere_at = 0.0

    def run(self) -> None:
        """Look until told to end; after an error on a new connection, and less often."""
        while not self.ending.is_set():
            started = time.monotonic()
            pause = self._every_seconds if self.once() else PAUSE_SECONDS_MOST / 6
            self.ending.wait(max(0.05, pause - (time.monotonic() - started)))

    def once(self) -> bool:
        """Look once; whether that went well."""
        try:
            look = witness_look(self._folder)
            note = self._checkpoint()
        except (Error, OSError, HawkOpsError) as error:
            log.warning("witness.failed", extra={"error": f"{type(error).__name__}: {error}"[:300]})
            connections.close_all()
            return False
        self._tell(look)
        if settings.WITNESS_URL and (look.is_new or look.amiss or note or self._refused):
            self._send(look, note)
        return True

    def _checkpoint(self) -> str | None:
        now = time.monotonic()
        if self._checkpoint_at and now - self._checkpoint_at < CHECKPOINT_SECONDS:
            return None
        note = checkpoint_look(self._folder)
        self._checkpoint_at = now
        return note

    def _send(self, look: Look, note: str | None) -> None:
        """Send the newest head; one that is not taken is tried again with pauses that grow."""
        now = time.monotonic()
        if note is None and now < self._elsewhere_at:
            return
        if told_elsewhere(look, note):
            self._refused = 0
            return
        self._refused += 1
        self._elsewhere_at = now + min(PAUSE_SECONDS_MOST, 2.0**self._refused)
        log.warning("witness.not_taken", extra={"times": self._refused})

    def _tell(self, look: Look) -> None:
        if not look.amiss or look.amiss == self._told:
            self._told = look.amiss
            return
        log.error("witness.amiss", extra={"seq": look.seq, "why": look.amiss})
        second_path.history_rewritten(look.amiss)
        self._told = look.amiss


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m hawkops.witness", description="Witness the change history.")
    parser.add_argument("--folder", type=Path, default=settings.WITNESS_DIR, help="where to write (WITNESS_DIR)")
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, metavar="SECONDS")
    options = parser.parse_args()
    logs.process_named("witness")
    loop = Loop(Folder(options.folder), every_seconds=options.every)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.ending.set())
    loop.run()


if __name__ == "__main__":
    main()
