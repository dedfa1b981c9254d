"""`manage.py kill ENVIRONMENT`: LiteRT off and cloud fallback on while the console is down. It takes the database only."""

import getpass
import json
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from rollout.domain.census import Census
from rollout.selectors import census as census_selectors
from rollout.selectors import flags as selectors
from rollout.services.flags import LITERT
from rollout.services.overrides import kill

POLL_SECONDS = 1.0


class Command(BaseCommand):
    """Exit 0 when it is off, 1 when devices were still pending as `--watch` ended, 2 when it could not be turned off."""

    help = "Turn LiteRT off and cloud fallback on. Exit 0: done, 1: devices still pending after --watch, 2: not done."
    # whatever else is wrong with the installation must not hold up a kill
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, why, and how long to look at the devices."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("--reason", default="", help="stands in the history; never asked for twice")
        parser.add_argument(
            "--watch",
            type=int,
            nargs="?",
            const=30,
            default=0,
            metavar="SECONDS",
            help="follow the devices; 30 s unless said",
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Kill, say it at once, then count."""
        environment = options["environment"]
        try:
            entry = kill(
                environment=environment,
                reason=options["reason"],
                actor=Actor("system:kill", getpass.getuser()),
            )
            revision = _revision(environment)
            if not options["json"]:
                self.stdout.write(_said(environment, entry, revision))
                self.stdout.flush()
            census = self._followed(environment, revision, options)
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        except DatabaseError as error:
            raise CommandError(f"The database did not do it: {error}", returncode=2) from error
        if options["json"]:
            document = {
                "environment": environment,
                "changed": entry is not None,
                "entry": entry.seq if entry else None,
                **asdict(census),
                "active": census.active,
            }
            self.stdout.write(json.dumps(document, indent=1))
        if options["watch"] and not census.settled:
            sys.exit(1)

    def _followed(self, environment: str, revision: int, options: dict[str, Any]) -> Census:
        """Count until nobody is pending, or the time is over; say every count that differs."""
        until = time.monotonic() + options["watch"]
        last = None
        while True:
            census = census_selectors.census(environment, revision)
            if census != last and not options["json"]:
                self.stdout.write(
                    f"{census.obeyed} of {census.active} active devices obey revision {revision},"
                    f" {census.pending} pending, {census.unreachable} unreachable."
                )
                self.stdout.flush()
            last = census
            if census.settled or time.monotonic() >= until:
                return census
            time.sleep(POLL_SECONDS)


def _revision(environment: str) -> int:
    """Return the revision from which LiteRT is off: an earlier kill's, when there was nothing left to do."""
    found = selectors.flag(environment, LITERT)
    revision = found.override_revision if found else None
    return revision if revision is not None else selectors.revision(environment)


def _said(environment: str, entry: HistoryEntry | None, revision: int) -> str:
    if entry is None:
        return f"LiteRT was already off and cloud fallback on in {environment}, since revision {revision}."
    return f"LiteRT is off and cloud fallback is on in {environment}: revision {revision}, entry {entry.seq}."
