"""`manage.py evidence_verify FILE`: prove an archive of security evidence again, without the database."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.scripts.checks.evidence_proof import evidence_verify
from hawkops.scripts.probes import findings


class Command(BaseCommand):
    """Exit 0 when all of it is proven, 1 when something was altered, 77 when nobody says whose the signature is."""

    help = "Verify the signature, the hashes and the history's chain in an archive of collect-security-evidence.sh."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The archive, and the key it must be signed with: that of this installation unless another is named."""
        parser.add_argument("file", type=Path, help="the archive, .tar.gz")
        parser.add_argument("--key", type=Path, default=None, help="the public key to trust, evidence.pub.pem")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what is proven, line by line."""
        own = settings.DATA / "signing" / "evidence.pub.pem"
        trusted = options["key"] or (own if own.is_file() else None)
        if not options["file"].is_file():
            raise CommandError(f"There is no file {options['file']}.")
        sys.exit(findings.report(evidence_verify(options["file"], trusted=trusted)))
