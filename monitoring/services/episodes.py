"""Writing what happens to an alert: a history entry for each move, chained to the one before, told once committed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from hawkops.core.errors import InvalidInput
from hawkops.core.live import announce
from hawkops.history.actors import Actor
from hawkops.history.services import Change, change
from monitoring.domain.alerting import Action
from monitoring.events import AlertMoved, alert_moved
from monitoring.models import Alert


class Moves:
    """The moves of one change."""

    def __init__(self, this: Change) -> None:
        self._this = this
        self._alerts: dict[str, Alert] = {}
        self._told: list[tuple[Alert, str, bool]] = []
        self._environments: set[str] = set()
        self.count = 0

    def note(
        self,
        alert: Alert,
        verb: str,
        *,
        before: dict[str, Any] | None,
        reason: str | None = None,
        cause: int | None = None,
        hidden: bool = False,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Record a move of a saved alert, caused by `cause` or else by the move before."""
        self._this.environment, self._this.cause = alert.environment, cause or alert.entry
        shown = {**state(alert), **(after or {})}
        self._this.record(
            verb, subject=f"alert:{alert.pk}", before=before, after=shown, reason=reason, hidden=hidden
        )  # fmt: skip
        self._this.cause = None
        self._alerts[f"alert:{alert.pk}"] = alert
        self._environments.add(alert.environment)
        self.count += 1
        if not hidden:
            self._told.append((alert, verb, alert.loud))

    def drop(self, alert: Alert, *, reason: str) -> None:
        """Delete an alert that never fired."""
        before, subject, self._this.cause = state(alert), f"alert:{alert.pk}", alert.entry
        self._environments.add(alert.environment)
        alert.delete()
        self._this.record("alert.dropped", subject=subject, before=before, after=None, reason=reason, hidden=True)
        self._this.cause = None
        self.count += 1

    def end(self) -> None:
        """Keep each alert's newest entry and tell who wants to know. Inside another change the entries come later."""
        for entry in self._this.entries:
            if alert := self._alerts.get(entry.subject):
                alert.entry = entry.seq
        Alert.objects.bulk_update([one for one in self._alerts.values() if one.entry is not None], ["entry"])
        for alert, verb, loud in self._told:
            alert_moved.announce(
                AlertMoved(
                    alert.pk,
                    verb,
                    alert.environment,
                    alert.group,
                    alert.severity,
                    Action(alert.action) if alert.action else None,
                    loud,
                    alert.entry,
                )
            )
        for environment in sorted(self._environments):
            announce("alerts", environment)


@contextmanager
def moves(*, actor: Actor, environment: str = "", reason: str = "", request_id: str = "") -> Iterator[Moves]:
    """Open a transaction in which alerts move."""
    with transaction.atomic():
        with change(actor=actor, environment=environment, reason=reason, request_id=request_id) as this:
            made = Moves(this)
            yield made
        made.end()


def state(alert: Alert) -> dict[str, Any]:
    """Return an alert as the history keeps it."""
    seconds = alert.detection_seconds
    return {
        "state": alert.state,
        "key": alert.key,
        "kind": alert.kind,
        "group": alert.group,
        "severity": alert.severity,
        "title": alert.title,
        "action": alert.action,
        "inhibited_by": alert.inhibited_by,
        "silence": alert.silence_id,
        **({"simulated": True} if alert.simulated else {}),
        "detection_seconds": None if seconds is None else round(seconds, 1),
    }


def lock(name: str, *, wait: bool) -> bool:
    """Take a lock for this transaction; False when somebody else has it and nobody wants to wait."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
            return True
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def typed(text: str, *, most: int, what: str) -> str:
    """Return what a person typed, cut. Raises InvalidInput for what the database can't keep."""
    if "\x00" in text:
        raise InvalidInput(f"The {what} holds a NUL character; type it again.")
    return text.strip()[:most]
