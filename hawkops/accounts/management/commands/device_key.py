"""`manage.py device_key ENVIRONMENT NAME`: a key for devices, printed once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hawkops.accounts.services.credentials import device_key_create
from hawkops.core.environments import Environment
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Print the key; only its hash is kept."""

    help = "Create a device key and print it. Only its hash is kept, so it can't be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where it counts, and what it is for."""
        parser.add_argument("environment", choices=[e.value for e in Environment])
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the key."""
        _, secret = device_key_create(
            environment=options["environment"], name=options["name"], actor=Actor.system("device_key")
        )
        self.stdout.write(secret)
