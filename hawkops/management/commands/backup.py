"""`manage.py backup FILE|DIR`: everything of this installation in one file, while it goes on. `--check FILE` proves one."""

import getpass
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hawkops.backups.dumping import backup
from hawkops.backups.passphrases import passphrase_of
from hawkops.backups.restoring import check
from hawkops.core.errors import HawkOpsError
from hawkops.history.actors import Actor


class Command(BaseCommand):
    """Exit 0 when the backup stands (or is whole), 1 when it does not."""

    help = "Back up database, keys and kept files into one file. The secrets are in it: keep it as safe as the system."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where, sealed with what, and how many."""
        parser.add_argument("target", nargs="?", type=Path, help="a folder, or a file that ends with .hawkops-backup")
        parser.add_argument("--check", type=Path, metavar="FILE", help="prove a backup without restoring it")
        parser.add_argument(
            "--passphrase-file", type=Path, metavar="FILE", help="seal or open it with this file's first line"
        )
        parser.add_argument(
            "--keep", type=int, default=0, metavar="N", help="delete all but the newest N in the folder"
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Back up, or check."""
        if (options["target"] is None) == (options["check"] is None):
            raise CommandError("Say where: manage.py backup FILE|DIR, or manage.py backup --check FILE")
        if options["keep"] < 0:
            raise CommandError("--keep takes 1 or more.")
        try:
            passphrase = passphrase_of(options["passphrase_file"])
            if options["check"] is not None:
                self._check(options["check"], passphrase, as_json=options["json"])
            else:
                self._backup(options["target"], passphrase, keep=options["keep"], as_json=options["json"])
        except HawkOpsError as refusal:
            raise CommandError(refusal.message) from refusal

    def _backup(self, target: Path, passphrase: str, *, keep: int, as_json: bool) -> None:
        actor = Actor.system(f"backup by {getpass.getuser()}"[:70])
        made = backup(target, actor=actor, passphrase=passphrase, keep=keep)
        head = made.manifest["head"]
        if as_json:
            said = {"file": str(made.path), "bytes": made.bytes, "head": head, "manifest_sha256": made.manifest_sha256}
            self.stdout.write(json.dumps(said))
            return
        self.stdout.write(f"{made.path}  {made.bytes / 1e6:.1f} MB")
        self.stdout.write(f"History up to entry {head['seq']}, {head['hash']}")
        self.stdout.write(f"SHA-256 of its manifest {made.manifest_sha256}")
        if not passphrase:
            self.stdout.write(
                "It is not sealed, and the secrets are in it: whoever has it can sign and read everything."
            )

    def _check(self, path: Path, passphrase: str, *, as_json: bool) -> None:
        found = check(path, passphrase=passphrase)
        if as_json:
            head = found.manifest["head"]
            said = {
                "file": str(path),
                "head": head,
                "manifest_sha256": found.manifest_sha256,
                "parts": len(found.parts),
            }
            self.stdout.write(json.dumps(said))
            return
        made = found.manifest["versions"].get("hawkops", "?")
        self.stdout.write(f"{path.name} is whole: {len(found.parts)} parts, made {found.made_at:%Y-%m-%d %H:%M:%S} UTC")
        self.stdout.write(f"by HawkOps {made}. History up to entry {found.head[0]}, {found.head[1]}")
        self.stdout.write(f"SHA-256 of its manifest {found.manifest_sha256}")
