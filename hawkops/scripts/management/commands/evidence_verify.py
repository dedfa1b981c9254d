"""`manage.py evidence_verify FILE`: prove an archive of evidence, on any machine, without the installation's database."""

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hawkops.scripts.checks import archive
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.measuring import Exit


class Command(BaseCommand):
    """Exit 0 when signature, hashes and history are proven, 77 when no trusted key is named, else 1."""

    help = "Verify an archive that collect-security-evidence made: signature, hashes, and the chain of the history."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which archive, and whose signature."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--key", type=Path, help="the public key you trust; this installation's when it has one")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say each line."""
        key: Path = options["key"] or settings.DATA / "signing" / "evidence.pub.pem"
        try:
            trusted = key.read_bytes() if options["key"] or key.exists() else None
        except OSError as error:
            raise CommandError(f"The key {key} can't be read: {error.strerror}.") from error
        outcome = findings.report(archive.verify(options["file"], public_key=trusted))
        if outcome is not Exit.PASSED:
            raise CommandError("The archive is not proven.", returncode=outcome.value)
