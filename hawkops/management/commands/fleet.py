"""`manage.py fleet`: run a simulated fleet against a running installation, healthy or with a scenario going wrong."""

import asyncio
import os
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.fleet.scenarios import HEALTHY, SCENARIOS
from hawkops.fleet.simulate import GATEWAY, Settings, WrongInput, run
from hawkops.management.span import backfill, seconds_of, step_of
from monitoring.services.telemetry import device_hours_recount


class Command(BaseCommand):
    """Be the fleet until Ctrl-C."""

    help = "Run a simulated fleet against a running installation; everything is marked simulated."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Size, seed, what goes wrong, and where to."""
        parser.add_argument("--devices", default=100, metavar="N", help="how many; 100 by default")
        parser.add_argument("--seed", default=1, metavar="N", help="the same seed gives the same fleet")
        parser.add_argument("--scenario", default=HEALTHY.name, metavar="NAME", help="what goes wrong; see --list")
        parser.add_argument("--after", default=0.0, metavar="SECONDS", help="until the scenario begins")
        parser.add_argument("--for", dest="for_seconds", metavar="SECONDS", help="until the fleet ends")
        parser.add_argument("--report", metavar="SECONDS", help="between two reports; 10, more if many")
        parser.add_argument("--steady", action="store_true", help="no night, nobody offline or in the background")
        parser.add_argument("--gateway", help=f"its address; by default HAWKOPS_GATEWAY, or {GATEWAY}")
        parser.add_argument("--key", help="a device key; by default HAWKOPS_DEVICE_KEY, or the one that `up` made")
        parser.add_argument("--span", metavar="48h", help="write so long a past into demo, at once, and end")
        parser.add_argument("--step", default="60", metavar="SECONDS", help="with --span: between two reports; 60")
        parser.add_argument("--list", action="store_true", help="say what can go wrong, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        """List the scenarios, or run the fleet."""
        if options["list"]:
            width = max(map(len, SCENARIOS))
            for one in SCENARIOS.values():
                needed = f" Needs {' and '.join(one.flags)}." if one.flags else ""
                self.stdout.write(f"{one.name:{width}}  {one.sentence}{needed}")
            return
        span = options["span"]
        try:
            key = options["key"] or os.environ.get("HAWKOPS_DEVICE_KEY")
            wanted = Settings.given(
                gateway=options["gateway"] or os.environ.get("HAWKOPS_GATEWAY") or GATEWAY,
                key="" if span else key or _key(settings.DATA / "device.key"),
                devices=options["devices"],
                seed=options["seed"],
                report_seconds=options["report"],
                scenario_name=options["scenario"],
                after_seconds=options["after"],
                for_seconds=options["for_seconds"],
                steady=options["steady"],
            )
            if span:
                seconds = seconds_of(span)
                step = step_of(options["step"], seconds)
                say = self.stdout.write
                taken = asyncio.run(backfill(wanted, dsn=settings.DATABASE_URL, span=seconds, step=step, say=say))
                device_hours_recount(Environment.DEMO.value, since=clock.now() - timedelta(seconds=seconds))
                say(f"{wanted.devices} simulated devices, the last {span}, in demo: {taken} exports taken.")
                return
        except WrongInput as error:
            raise CommandError(str(error), returncode=2) from error
        asyncio.run(run(wanted))


def _key(path: Path) -> str:
    """Read the key that `up` made. Raises WrongInput when there is none."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise WrongInput("There is no device key: set HAWKOPS_DEVICE_KEY, or start `manage.py up` first.") from error
