"""Reading log lines in the order they were committed."""

from django.db.models import QuerySet

from monitoring.models import LogLine

LINES_AT_ONCE = 5_000


def lines_since(after_id: int, *, environment: str = "", limit: int = LINES_AT_ONCE) -> list[LogLine]:
    """Return lines with greater ids, oldest first: start with 0, go on from the last one's id, and none is missed.

    The door writes lines of one transaction after another under one lock, so a line never appears below an id that
    could already be seen.
    """
    return list(_of(environment).filter(pk__gt=after_id).order_by("pk")[:limit])


def last_line_id(environment: str = "") -> int:
    """Return the newest line's id, 0 when there is none: where to begin when only new lines matter."""
    return _of(environment).order_by("-pk").values_list("pk", flat=True).first() or 0


def last_crash(environment: str, app_version: str) -> LogLine | None:
    """Return the newest crash of a version of the app (empty: of any) that is still kept; None without one."""
    found = LogLine.objects.filter(environment=environment, crash=True)
    return (found.filter(app_version=app_version) if app_version else found).order_by("-pk").first()


def line_exists(environment: str, event_name: str, *, after_id: int) -> bool:
    """Say whether a line of this event came in after an id."""
    return _of(environment).filter(pk__gt=after_id, event_name=event_name).exists()


def _of(environment: str) -> QuerySet[LogLine]:
    return LogLine.objects.filter(environment=environment) if environment else LogLine.objects.all()
