"""`manage.py report_verify FILE`: judge every line of a validation report anew from its JSON, without any database."""

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rollout.domain import report
from rollout.selectors.code import code

LARGEST_BYTES = 64 * 1024 * 1024


class Command(BaseCommand):
    """Exit 0 when the report holds, 1 when anything in it is not what its numbers give."""

    help = "Judge every line of a validation report anew from the numbers in its JSON, and name any difference."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which report."""
        parser.add_argument("file", type=Path, help="the JSON beside the page")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say each difference."""
        path: Path = options["file"]
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise CommandError(f"{path} is larger than {LARGEST_BYTES // 2**20} MB.")
            told = json.loads(path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path} is no JSON; the page's own is the file beside it: {error}.") from error
        proof = told.get("proof") if isinstance(told, dict) else None
        same = isinstance(proof, dict) and proof.get("code_sha256") == code()["judging"]
        differences = report.verify(told, words=same)
        for one in differences:
            self.stdout.write(str(one))
        if differences:
            count = len(differences)
            raise CommandError(f"The report does not hold: {count} difference{'s' if count > 1 else ''}.")
        if not same:
            self.stdout.write(
                "It was judged by another version of the code; this one gives the same. Its words were not compared."
            )
        self.stdout.write(f"The report holds: {len(told['numbers'])} criteria judged anew, {told['verdict']}.")
