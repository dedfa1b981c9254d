"""Every change has its entry: what product code writes, it writes inside `change(…)`, and that ends with an entry.

`EXEMPT` says of each table that needs none why; a model that stands nowhere fails the build. While tests run, each statement
that writes a watched table is held against the change that is open; what is rolled back is no change.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.apps import apps
from django.db import connection

from hawkops.history import services as history
from hawkops.history.services import Change

ROOT = Path(__file__).resolve().parents[1]
OURS = tuple(str(ROOT / name) + "/" for name in ("hawkops", "monitoring", "rollout", "incidents"))
TESTS = str(ROOT / "tests") + "/"
WRITES = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?', re.IGNORECASE)
SAVEPOINT = re.compile(r'\s*(SAVEPOINT|ROLLBACK TO SAVEPOINT)\s+"?(\w+)"?', re.IGNORECASE)

# of tests that try every operation of the API, and the ways in; every press of every page is tried in one file
FOLDERS = ("access", "accounts", "api", "history")
PRESSES = "tests/pages/test_access.py"
MEASURED = "measured, not decided: what devices and checks report"
MEMORY = "the memory of a process, made anew from what is true"
DELIVERED = "how telling went on; what is told is an entry"
EXEMPT = {
    "history.HistoryEntry": "the history itself",
    "history.Personal": "part of an entry",
    "history.ActorName": "part of an entry, kept by the database",
    "history.Head": "the history itself",
    "history.Checkpoint": "the history's own proof",
    "history.Verification": "what verifying found",
    "accounts.SecretTries": "counts of wrong secrets; the pause is an entry",
    "accounts.KeyedAnswer": "what a request was answered; its change is an entry",
    "scripts.RunOutput": "what a run prints; its beginning and end are entries",
    "scripts.RunFile": "what a run leaves; its end is an entry",
    **{
        f"monitoring.{name}": MEASURED
        for name in (
            "CumulativeStream", "DashboardLink", "DeviceHour", "DeviceHourCount", "DeviceNote", "DoorTotal", "FoldedSeries",
            "HealthResult", "LogLine", "PanelHour", "PanelReport", "PanelSlot", "PatternCount", "PatternSample",
            "PayloadDigest", "RolledUp", "RollupPartial", "Series",
        )
    },
    "monitoring.Evaluation": MEMORY,
    "monitoring.LogCursor": MEMORY,
    "monitoring.Pulse": "a sign of life",
    "rollout.CensusDevice": MEASURED,
    "rollout.DrillDevice": MEASURED,
    "rollout.Exposure": MEASURED,
    "rollout.GuardrailState": MEMORY,
    "rollout.GuardrailBand": MEMORY,
    "rollout.EnvironmentFlags": "the revision that the change of a flag raises",
    "incidents.Delivery": DELIVERED,
    "incidents.Dispatch": DELIVERED,
    "incidents.Receipt": DELIVERED,
    "incidents.StepDelivery": DELIVERED,
    "incidents.EscalationReading": MEMORY,
    "incidents.HeardEvent": "what PagerDuty said; what follows from it is an entry",
    "incidents.SecondPath": "a sign of life",
    "incidents.SecondPage": DELIVERED,
    "incidents.Follow": MEMORY,
    "incidents.VitalAlert": "a short one is nobody's news; what is told is an entry",
    "auth.Permission": "Django's; rights are role grants",
    "auth.Group": "Django's; rights are role grants",
    "contenttypes.ContentType": "Django's own",
    "sessions.Session": "signing in and out are entries",
    "usersessions.UserSession": "what a browser said of itself; ending one is an entry",
    "account.EmailAddress": "allauth's; not used",
    "account.EmailConfirmation": "allauth's; not used",
    "socialaccount.SocialApp": "allauth's; settings say it",
    "socialaccount.SocialToken": "allauth's; none is kept",
}  # fmt: skip


OWN_NUMBER = "the number of its own entry, which is known only then"
# where a watched table is written beside its change, and why that is none
BESIDE = {
    "hawkops/accounts/views/second.py enter_person": "when somebody signed in last, by Django; that they did is an entry",
    "hawkops/accounts/views/oidc.py come_back": "what the issuer says of a known identity, by allauth",
    "hawkops/accounts/services/factors.py _spent": "that a code was used; the sign-in it proves is an entry",
    "hawkops/accounts/services/factors.py factor_used": "when a passkey was used last",
    "hawkops/accounts/services/credentials.py api_token_find": "when a token was used last",
    "rollout/services/lockdown.py lockdown_begin": OWN_NUMBER,
    "rollout/services/drills.py _entered": OWN_NUMBER,
    "hawkops/scripts/services.py run_request": OWN_NUMBER,
    "rollout/services/procedure.py step_start": "which run a step's entry began",
    "incidents/services/sending.py _channel_moved": DELIVERED,
}


def tries_all(path: Path) -> bool:
    """Say whether a test's file is one of those that are watched."""
    return path.parent.name in FOLDERS or str(path).endswith(PRESSES)


def watched() -> dict[str, str]:
    """Return the tables whose every change needs an entry, with their models."""
    found = {model._meta.db_table: model._meta.label for model in apps.get_models(include_auto_created=True)}
    return {table: label for table, label in found.items() if label not in EXEMPT}


class Watch:
    """What was written without an entry, as `Model by file function`."""

    def __init__(self) -> None:
        self._tables = watched()
        self._seen: list[tuple[Change | None, str]] = []
        self._savepoints: list[tuple[str, int]] = []

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Look at a statement, and let it go on."""
        text = sql if isinstance(sql, str) else ""
        if (wrote := WRITES.match(text)) is not None and wrote.group(1) in self._tables:
            where = _where(sys._getframe(1))
            if where and where not in BESIDE:
                self._seen.append((history._open.get(), f"{self._tables[wrote.group(1)]} by {where}"))
        elif (point := SAVEPOINT.match(text)) is not None:
            self._pointed(point.group(1).upper(), point.group(2))
        return execute(sql, params, many, context)

    def _pointed(self, what: str, name: str) -> None:
        if what == "SAVEPOINT":
            self._savepoints.append((name, len(self._seen)))
            return
        back = next((count for at, count in reversed(self._savepoints) if at == name), 0)
        del self._seen[back:]

    @property
    def missing(self) -> list[str]:
        """Return what has no entry, each once."""
        return sorted({what for change, what in self._seen if change is None or not change.entries})


def _where(frame: FrameType | None) -> str:
    """Return the nearest line of ours; empty where a test wrote by itself."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            return f"{name.removeprefix(str(ROOT) + '/')} {frame.f_code.co_name}"
        if name.startswith(TESTS) and name != __file__:
            return ""
        frame = frame.f_back
    return ""


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch what this thread writes inside."""
    watch = Watch()
    with connection.execute_wrapper(watch):
        yield watch
