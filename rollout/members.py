"""A group's devices as a CSV file: read, and written as the reading takes it."""

import csv
import io
from collections.abc import Iterable, Iterator

from hawkops.core.errors import InvalidInput
from hawkops.core.spreadsheet import harmless, meant

FILE_BYTES = 25_000_000
HEADINGS = ("targeting_key", "targetingkey", "device", "device_id", "key")


def from_csv(data: bytes) -> Iterator[str]:
    """Give the first column of a CSV file, without its heading. Raises InvalidInput for a file that is none."""
    if len(data) > FILE_BYTES:
        raise InvalidInput(f"The file has more than {FILE_BYTES // 1_000_000} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("The file is not UTF-8; save it as CSV in UTF-8.") from None
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True)):
            key = meant(row[0].strip()) if row else ""
            if key and not (number == 0 and key.lower() in HEADINGS):
                yield key
    except csv.Error as error:
        raise InvalidInput(f"The file is no CSV: {error}.") from None


def as_csv(members: Iterable[str]) -> Iterator[str]:
    """Give the lines of the file, with a heading. Names come from devices: none of them becomes a formula."""
    yield "targeting_key\r\n"
    for member in members:
        line = io.StringIO()
        csv.writer(line).writerow([harmless(member)])
        yield line.getvalue()
