"""Celery tasks of the roof: what needs to see all apps."""

from celery import shared_task

from hawkops.backups.planned import backup_due


@shared_task(name="hawkops.backup_due")
def backup_due_task() -> None:
    """Back up when the last backup is a day old."""
    backup_due()
