"""`manage.py device_key ENVIRONMENT NAME`: a key for devices, printed once."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.accounts.models import DeviceKey
from hawkops.accounts.services.credentials import (
    KEY_LIFETIME,
    KEY_LIFETIME_MOST,
    KEY_OVERLAP,
    OVERLAP_MOST,
    device_key_create,
    device_key_rotate,
)
from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError, NotFound
from hawkops.history.actors import Actor

ACTOR = Actor.system("device_key")


class Command(BaseCommand):
    """Print the key; only its hash is kept. Exit 0 when it is made, 2 when what was asked for is refused."""

    help = "Create a device key and print it. Only its hash is kept, so it can't be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where it counts, what it is for, and how long."""
        parser.add_argument("environment", choices=[e.value for e in Environment])
        parser.add_argument("name")
        ends = parser.add_mutually_exclusive_group()
        ends.add_argument("--days", type=int, default=KEY_LIFETIME.days, help="until it ends (%(default)s)")
        ends.add_argument("--no-end", action="store_true", help="it lives until it is revoked")
        parser.add_argument("--rotate", action="store_true", help="make the successor of the newest one of this name")
        parser.add_argument(
            "--overlap", type=int, default=KEY_OVERLAP.days, metavar="DAYS", help="both live so long (%(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the key, or its successor."""
        try:
            self.stdout.write(self._rotated(options) if options["rotate"] else self._made(options))
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error

    def _made(self, options: dict[str, Any]) -> str:
        days = min(max(options["days"], 0), KEY_LIFETIME_MOST.days + 1)
        return device_key_create(
            environment=options["environment"],
            name=options["name"],
            lifetime=None if options["no_end"] else timedelta(days=days),
            actor=ACTOR,
        )[1]

    def _rotated(self, options: dict[str, Any]) -> str:
        found = DeviceKey.objects.filter(environment=options["environment"], name=options["name"], revoked_at=None)
        key = found.order_by("-created_at").first()
        if key is None:
            raise NotFound(f"There is no key {options['name']!r} in {options['environment']}.")
        overlap = timedelta(days=min(max(options["overlap"], -1), OVERLAP_MOST.days + 1))
        return device_key_rotate(key=key, overlap=overlap, actor=ACTOR)[1]
