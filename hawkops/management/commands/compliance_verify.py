"""`manage.py compliance_verify FILE`: hold a compliance pack against itself, on any machine, without any database."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.compliance.domain import pack
from hawkops.history.domain.checkpoint import Unproven, Verifier

LARGEST_BYTES = 512 * 1024 * 1024


class Command(BaseCommand):
    """Exit 0 when the pack holds, 1 when anything in it is not what it should be."""

    help = "Verify a release's compliance pack (JSON), and name the first thing that does not fit."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Which pack, and whom to believe."""
        parser.add_argument("file", type=Path, help="the JSON that the release's compliance page gives")
        parser.add_argument(
            "--key", action="append", default=[], metavar="VERIFIER", help="who is trusted to have signed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what was proven."""
        path: Path = options["file"]
        try:
            keys = [Verifier.parse(text) for text in options["key"]]
            if path.stat().st_size > LARGEST_BYTES:
                raise CommandError(f"{path} is larger than {LARGEST_BYTES // 2**20} MB.")
            document = pack.read(path.read_text(encoding="utf-8"))
            found = pack.verify(document, keys=keys)
        except (OSError, UnicodeDecodeError, Unproven, pack.Unreadable) as error:
            raise CommandError(f"{path} can't be read: {error}.") from error
        if found.unfit:
            raise CommandError(found.unfit)
        for sentence in pack.sentences(found, document, trusted=bool(keys)):
            self.stdout.write(sentence)
