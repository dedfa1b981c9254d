"""What a round found, as a row. Pure: a verdict is made of counts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

HEADINGS = ("fault", "load", "acknowledged", "lost", "duplicated", "recovered in (s)", "verdict")


class Verdict(StrEnum):
    """How a round ended."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    NO_DATA = "NO_DATA"


@dataclass
class Counts:
    """What was acknowledged of one kind, what of it is gone, and what is there more than once."""

    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0


@dataclass
class Result:
    """A round. `findings` are sentences, each about something that must not be; `notes` only tell.

    A notification told twice carries the same id, so that its receiver can tell: it is counted and no finding.
    """

    fault: str
    load: str = ""
    counts: dict[str, Counts] = field(default_factory=dict)
    recovered_seconds: float | None = None
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def verdict(self) -> Verdict:
        """Nothing lost, nothing counted twice, everything works again, nothing found."""
        if self.missing:
            return Verdict.NO_DATA
        lost = any(one.lost for one in self.counts.values())
        twice = any(one.duplicated for kind, one in self.counts.items() if kind != "notifications")
        bad = lost or twice or self.findings or self.recovered_seconds is None
        return Verdict.FAIL if bad else Verdict.PASS

    def cells(self) -> tuple[str, ...]:
        """Return the row."""
        if self.missing:
            return (self.fault, self.missing, "", "", "", "", self.verdict.value)
        kinds = self.counts.items()
        lost = sum(one.lost for _, one in kinds)
        recovered = "never" if self.recovered_seconds is None else f"{self.recovered_seconds:.1f}"
        twice = ", ".join(f"{one.duplicated} {kind}" for kind, one in kinds if one.duplicated) or "0"
        said = ", ".join(f"{one.acknowledged} {kind}" for kind, one in kinds)
        gone = ", ".join(f"{one.lost} {kind}" for kind, one in kinds if one.lost)
        return (self.fault, self.load, said, gone or str(lost), twice, recovered, self.verdict.value)


def table(results: Iterable[Result]) -> str:
    """Return the table as Markdown."""
    rows = [HEADINGS, *(one.cells() for one in results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)
