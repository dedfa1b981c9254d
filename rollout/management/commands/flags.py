"""`manage.py flags ENVIRONMENT`: what devices get now, on a shell."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hawkops.core.environments import Environment
from rollout.api.flags import flags_out


class Command(BaseCommand):
    """Exit 0; 2 for an environment that there is not."""

    help = "Show every flag with its percentage, override and devices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("--json", action="store_true", help="print them as JSON, as the API says them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line a flag."""
        found = flags_out(options["environment"])
        if options["json"]:
            self.stdout.write(found.model_dump_json(indent=1))
            return
        width = max((len(flag.key) for flag in found.flags), default=0)
        for flag in found.flags:
            said = f"{flag.percent:g} %" + (f", {len(flag.rules)} rules" if flag.rules else "")
            if flag.override:
                said = f"forced {flag.override.variant} by {flag.override.by}: {flag.override.reason} (else {said})"
            if flag.scoped_overrides:
                said += f", {len(flag.scoped_overrides)} overrides for some devices"
            self.stdout.write(f"{flag.key:<{width}}  {said}; on at {flag.devices_on} devices")
        self.stdout.write(f"Revision {found.revision}, {found.active_devices} active devices.")
