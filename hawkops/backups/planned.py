"""The backup of each day, where BACKUP_DIR names a folder."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection

from hawkops.backups.dumping import BACKED_UP, backup
from hawkops.core import clock
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.selectors import entries
from hawkops.history.services import change

EVERY = timedelta(days=1)
# so long after one that failed
AGAIN = timedelta(hours=1)
FAILED = "system.backup_failed"
ACTOR = Actor.rule("backup")
# of session locks: two workers must not make the same backup
LOCK = 0x68_6B_62_61
log = logging.getLogger(__name__)


def last_at(verb: str = BACKED_UP) -> datetime | None:
    """Return when the last backup was made (or failed); None before the first."""
    return entries(verbs=[verb]).values_list("at", flat=True).first()


def backup_due() -> bool:
    """Back up if it is time; say whether a backup was made. One that fails stands in the history once an hour."""
    if not settings.BACKUP_DIR:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return False
    try:
        now = clock.now()
        made, failed = last_at(), last_at(FAILED)
        if (made is not None and now - made < EVERY) or (failed is not None and now - failed < AGAIN):
            return False
        folder = Path(settings.BACKUP_DIR)
        try:
            done = backup(folder, actor=ACTOR, passphrase=settings.BACKUP_PASSPHRASE, keep=settings.BACKUP_KEEP)
        except HawkOpsError as refusal:
            log.error("backup.failed", extra={"why": refusal.message})
            with change(actor=ACTOR, reason=refusal.message[:500]) as this:
                this.record(FAILED, subject="system:backup")
            return False
        log.info("backup.made", extra={"file": done.path.name, "bytes": done.bytes})
        return True
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
