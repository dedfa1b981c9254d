"""`manage.py lockdown ENVIRONMENT`: security lockdown while the console is down. It takes the database only."""

import getpass
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from hawkops.scripts.entries.shared import SEVERITIES
from rollout.services.lockdown import HIGH, lockdown_begin


class Command(BaseCommand):
    """Exit 0 when it stands, 2 when it could not be done."""

    help = (
        "Security lockdown: LiteRT off, cloud fallback on, every raise refused until two people lift it in the console."
        " Exit 0: it stands, 2: not done. Incident, evidence and the security team follow as soon as HawkOps runs."
    )
    # whatever else is wrong with the installation must not hold it up
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, why and how grave."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("--reason", default="", help="stands in the history; never asked for twice")
        parser.add_argument("--severity", default=HIGH, choices=SEVERITIES, help="high unless said")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Lock down, and say it."""
        environment = options["environment"]
        try:
            found, made = lockdown_begin(
                environment=environment,
                reason=options["reason"],
                severity=options["severity"],
                actor=Actor("system:lockdown", getpass.getuser()),
            )
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        except DatabaseError as error:
            raise CommandError(f"The database did not do it: {error}", returncode=2) from error
        if options["json"]:
            document = {
                "environment": environment,
                "changed": made,
                "lockdown": found.pk,
                "entry": found.entry,
                "since": found.at.isoformat(),
                "by": found.by,
                "severity": found.severity,
                "reason": found.reason,
            }
            self.stdout.write(json.dumps(document, indent=1))
            return
        if made:
            said = f"{environment} is in lockdown: LiteRT is off, cloud fallback is on, nothing is raised."
            self.stdout.write(f"{said} Entry {found.entry}.")
        else:
            self.stdout.write(
                f"{environment} was already in lockdown, since {found.at:%Y-%m-%d %H:%M} UTC by {found.by}."
            )
