"""`manage.py device_erase ID`: forget one device everywhere, in one transaction, and prove that it was done."""

from argparse import ArgumentParser
from hashlib import sha256
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.core.environments import Environment
from hawkops.core.erasure import erasers
from hawkops.history.actors import Actor
from hawkops.history.services import change


class Command(BaseCommand):
    """Erase what is kept of a device by its id. Merged distributions hold no ids and stay."""

    help = "Forget one device: its reports, log lines, own values and census, in every environment or in one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The device and where."""
        parser.add_argument("device_id")
        parser.add_argument("--environment", choices=[one.value for one in Environment], help="only there")
        parser.add_argument("--reason", default="Erasure request")

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase and say what was found."""
        device_id = options["device_id"].strip()
        if not device_id:
            raise CommandError("Say which device: manage.py device_erase ID")
        wanted = [options["environment"]] if options["environment"] else [one.value for one in Environment]
        # the entry must not name what was erased; whoever knows the id can still find the entry
        subject = f"device:{sha256(device_id.encode()).hexdigest()[:16]}"
        found = 0
        for environment in wanted:
            with change(actor=Actor.system("device_erase"), environment=environment, reason=options["reason"]) as this:
                erased = {what: erase(environment, device_id) for what, erase in erasers().items()}
                if any(erased.values()):
                    this.record("device.erased", subject=subject, after={"rows": erased})
            for what, rows in erased.items():
                if rows:
                    self.stdout.write(f"{environment}: {rows} {what}")
            found += sum(erased.values())
        if not found:
            raise CommandError(f"Nothing is kept of {device_id!r} in {', '.join(wanted)}.")
