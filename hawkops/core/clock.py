"""The one clock. Everything takes the time from here, so that tests and the demo's long spans can step it."""

from datetime import UTC, datetime

_stepped_to: datetime | None = None


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return _stepped_to or datetime.now(tz=UTC)


def step_to(moment: datetime | None) -> None:
    """Set this process's clock to a moment and stop it there; None lets it run again.

    Only for a process of its own that writes into the environment demo: what others take for now stays as it is.
    """
    global _stepped_to
    _stepped_to = moment
