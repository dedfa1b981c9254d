"""`manage.py history_export FOLDER`: the whole history, and the program that proves it anywhere."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hawkops.history.domain.checkpoint import verifier_of
from hawkops.history.exporting import export_lines, verifier_program
from hawkops.history.keys import origin, signing_key


class Command(BaseCommand):
    """Write `history.jsonl` and `verify_history.pyz`."""

    help = "Export the change history with a stand-alone verifier (Python and cryptography only)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to."""
        parser.add_argument("folder", type=Path, help="a folder, made when absent")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write both files; each is whole or not there."""
        folder: Path = options["folder"]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = folder / "history.jsonl.new"
            # names of people stand in it
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                for line in export_lines():
                    file.write(line)
            fresh.replace(folder / "history.jsonl")
            (folder / "verify_history.pyz").write_bytes(verifier_program())
        except OSError as error:
            raise CommandError(f"{folder} can't be written: {error.strerror}.") from error
        self.stdout.write(
            f"Prove it anywhere: python {folder}/verify_history.pyz {folder}/history.jsonl"
            f" --key {verifier_of(origin(), signing_key())} --witness FOLDER"
        )
