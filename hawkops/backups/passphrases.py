"""Where a passphrase comes from: a file that only its owner may read, never an argument that everybody sees."""

from pathlib import Path

from django.conf import settings

from hawkops.core.errors import InvalidInput


def passphrase_of(path: Path | None) -> str:
    """Return the first line of the file, else BACKUP_PASSPHRASE. Raises InvalidInput for a file that others may read."""
    if path is None:
        return str(settings.BACKUP_PASSPHRASE)
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInput(f"Others may read {path}. Close it first: chmod 600 {path}")
        found = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The passphrase in {path} can't be read: {error}.") from error
    if not found or not found[0]:
        raise InvalidInput(f"{path} is empty; its first line is the passphrase.")
    return found[0]
