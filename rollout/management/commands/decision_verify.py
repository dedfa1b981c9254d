"""`manage.py decision_verify FILE`: recompute a decision from its bundle, on any machine, without any database."""

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rollout.domain import bundle
from rollout.selectors.code import code

LARGEST_BYTES = 64 * 1024 * 1024


class Command(BaseCommand):
    """Exit 0 when the bundle holds, 1 when anything in it is not what it should be."""

    help = "Recompute the lines and the recommendation of a decision bundle from its numbers, and name any difference."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Which bundle, and an export of the history to hold it against."""
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--history",
            type=Path,
            metavar="FILE",
            help="an export of the history (JSON lines) with the bundle's entries",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Say each difference."""
        found = self._read(options["file"])
        try:
            told = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{options['file']} is no JSON: {error}.") from error
        entries = self._entries(options["history"]) if options["history"] else []
        judged_by = told.get("code") if isinstance(told, dict) else None
        same = isinstance(judged_by, dict) and judged_by.get("judging") == code()["judging"]
        differences = bundle.verify(told, entries=entries, words=same)
        if differences:
            for one in differences:
                self.stdout.write(str(one))
            count = len(differences)
            raise CommandError(f"The bundle does not hold: {count} difference{'s' if count > 1 else ''}.")
        if not same:
            self.stdout.write(
                "It was judged by another version of the code; this one gives the same. Its words were not compared."
            )
        decided, lines = told["decision"], len(told["lines"])
        self.stdout.write(
            f"The bundle holds: {lines} lines recomputed, {told['recommended']['recommendation']} recommended, "
            f"{decided['decided']} decided by {decided['by']}, {len(told['signatures'])} signatures."
        )
        if not entries:
            self.stdout.write("Its entries give their hashes; --history shows that they stand in the chain.")

    def _read(self, path: Path) -> str:
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise CommandError(f"{path} is larger than {LARGEST_BYTES // 2**20} MB.")
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} can't be read: {error}.") from error

    def _entries(self, path: Path) -> list[dict[str, Any]]:
        try:
            rows = [json.loads(line) for line in self._read(path).splitlines() if line.strip()]
            return [{"seq": int(row["seq"] if "seq" in row else row["entry"]), "hash": row["hash"]} for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{path} is no export of the history: {error}.") from error
