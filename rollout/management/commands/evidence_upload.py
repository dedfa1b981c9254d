"""`manage.py evidence_upload ENVIRONMENT FILE`: a security scan for the running release, from a pipeline on this host."""

import getpass
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.core.environments import Environment
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor
from rollout.api.scans import scan_out
from rollout.domain.scans import FILE_BYTES
from rollout.selectors.releases import release_running
from rollout.services.scans import scan_upload


class Command(BaseCommand):
    """Exit 0 when it is kept, whatever it found; 2 when it could not be."""

    help = "Upload SARIF 2.1.0 or CycloneDX JSON for the running release. Exit 0: kept, 2: not kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, and what."""
        parser.add_argument("environment", choices=[one.value for one in Environment])
        parser.add_argument("file", help="what the scanner wrote; - is standard input")
        parser.add_argument("--version-code", type=int, help="the build that was scanned, unless the release's own")
        parser.add_argument("--json", action="store_true", help="print what was read as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Keep it and say what was read."""
        release = release_running(options["environment"])
        if release is None:
            raise CommandError(f"No release is under way in {options['environment']}.", returncode=2)
        try:
            made = scan_upload(
                release=release,
                content=_content(options["file"]),
                version_code=options["version_code"],
                actor=Actor("system:evidence_upload", getpass.getuser()),
            )
        except HawkOpsError as error:
            raise CommandError(error.message, returncode=2) from error
        if options["json"]:
            self.stdout.write(scan_out(made).model_dump_json(indent=1))
            return
        said = ", ".join(f"{count} {severity}" for severity, count in made.counts.items()) or "no finding"
        self.stdout.write(f"{made.tool} on version code {made.version_code}: {said}; kept for release {release.pk}.")


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(FILE_BYTES + 1)
    try:
        with Path(file).open("rb") as scan:
            return scan.read(FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.", returncode=2) from error
