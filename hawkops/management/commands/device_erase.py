"""`manage.py device_erase ID`: forget one device everywhere, in one transaction, and prove that it was done."""

from argparse import ArgumentParser
from hashlib import sha256
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from hawkops.core.environments import Environment
from hawkops.core.erasure import erasers
from hawkops.history.actors import Actor
from hawkops.history.services import change
from monitoring.otlp.decoding import device_of
from monitoring.services.telemetry import KEEP_STREAMS
from rollout.domain.targeting import TARGETING_KEY_CHARACTERS


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
        names = _names(options["device_id"])
        if not names:
            raise CommandError("Say which device: manage.py device_erase ID")
        wanted = [options["environment"]] if options["environment"] else [one.value for one in Environment]
        # the entry must not name what was erased; whoever knows the id can still find the entry
        subject = f"device:{sha256(names[0].encode()).hexdigest()[:16]}"
        found = 0
        for environment in wanted:
            with change(actor=Actor.system("device_erase"), environment=environment, reason=options["reason"]) as this:
                erased = {what: sum(erase(environment, name) for name in names) for what, erase in erasers().items()}
                if any(erased.values()):
                    this.record("device.erased", subject=subject, after={"rows": erased})
            for what, rows in erased.items():
                if rows:
                    self.stdout.write(f"{environment}: {rows} {what}")
            found += sum(erased.values())
        if not found:
            raise CommandError(f"Nothing is kept of {names[0]!r} in {', '.join(wanted)}.")
        hours = int(KEEP_STREAMS.total_seconds()) // 3600
        self.stdout.write(
            f"The last points of its cumulative streams, if it sent any, stand under a digest without its id; they vanish"
            f" {hours} h after it was last heard."
        )


def _names(given: str) -> list[str]:
    """Return what the doors may have stored a device under: as telemetry takes its id first, then as flags do."""
    storable = given.encode(errors="ignore").decode()
    stored = device_of([KeyValue(key="device.id", value=AnyValue(string_value=storable))]).device_id
    taken = given == storable and len(given) <= TARGETING_KEY_CHARACTERS and min(given, default="") >= " "
    return [name for name in dict.fromkeys((stored, given) if taken else (stored,)) if name.strip()]
