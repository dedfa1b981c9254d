"""`manage.py bench`: measure the running installation. Compare figures of one run only: machines are noisy."""

import platform
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.models import User
from hawkops.bench import measures
from hawkops.bench.appends import appends_measure
from hawkops.bench.changes import changes_measure, streams_measure
from hawkops.bench.error_rates import error_rates_measure
from hawkops.bench.evaluations import flags_measure
from hawkops.bench.history_pages import history_pages_measure
from hawkops.bench.queries import queries_measure
from hawkops.bench.tampering import tampering_measure
from hawkops.core.access import Role
from hawkops.core.errors import HawkOpsError

MEASURES: dict[str, Callable[[measures.Target, Callable[[str], None]], None]] = {
    "kill": measures.kill_measure,
    "flags": flags_measure,
    "changes": changes_measure,
    "streams": streams_measure,
    "telemetry": measures.telemetry_measure,
    "pages": measures.pages_measure,
    "queries": lambda _target, say: queries_measure(say),
}
# what is simulated: nothing needs to run for it
ALONE: dict[str, Callable[[Callable[[str], None]], object]] = {
    "statistics": error_rates_measure,
    "appends": appends_measure,
    "tampering": tampering_measure,
    "history_pages": history_pages_measure,
}


class Command(BaseCommand):
    """Print one line a figure."""

    help = (
        f"Measure a running `manage.py up`: {', '.join(MEASURES)}. Alone: {', '.join(ALONE)}. "
        "`bench faults` hurts an installation of its own."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which measures; by default all of the installation."""
        parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join((*MEASURES, *ALONE)))

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure."""
        wanted = options["measures"] or list(MEASURES)
        if unknown := sorted(set(wanted) - {*MEASURES, *ALONE}):
            raise CommandError(f"There is no measure {unknown[0]}; there are {', '.join((*MEASURES, *ALONE))}.")
        self.stdout.write(_machine())
        for name in wanted:
            if name in ALONE:
                ALONE[name](self.stdout.write)
        if running := [name for name in wanted if name in MEASURES]:
            self._running(running)

    def _running(self, wanted: list[str]) -> None:
        """Measure the installation."""
        session, cookie = _session()
        target = measures.Target(
            console=settings.CONSOLE_URL,
            gateway=settings.GATEWAY_URL,
            data=settings.DATA,
            key=_key(settings.DATA / "device.key"),
            cookie=cookie,
        )
        try:
            for name in wanted:
                MEASURES[name](target, self.stdout.write)
        except HawkOpsError as error:
            raise CommandError(error.message) from error
        finally:
            session.delete()


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    cores = Path("/proc/cpuinfo").read_text().count("processor\t")
    return f"{model}, {cores} cores, Python {platform.python_version()}"


def _key(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise CommandError(f"No device key at {path}. Start `manage.py up` first.") from error


def _session() -> tuple[SessionStore, str]:
    """Open a session of the oldest administrator for as long as the bench runs."""
    user = User.objects.filter(grants__role=Role.ADMIN.value, is_active=True).order_by("pk").first()
    if user is None:
        raise CommandError("There is no administrator yet. Start `manage.py up` first.")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    csrf = "b" * 32
    return session, f"{settings.SESSION_COOKIE_NAME}={session.session_key}; {settings.CSRF_COOKIE_NAME}={csrf}"
