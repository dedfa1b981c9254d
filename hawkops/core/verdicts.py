"""The one enumeration of verdicts. Only `PASS` ever lets anything advance."""

from enum import StrEnum


class Verdict(StrEnum):
    """What a check, criterion or run says; each value is the word the API uses."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INSUFFICIENT = "INSUFFICIENT"
    NO_DATA = "NO_DATA"
    STALE = "STALE"
    ERROR = "ERROR"

    @property
    def label(self) -> str:
        """The word as pages show it."""
        return self.value.replace("_", " ")

    @property
    def css(self) -> str:
        """The class and icon name of the badge."""
        return self.value.replace("_", "").lower()


# Worst first: the verdict of several lines is the first of these that occurs.
WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.STALE, Verdict.NO_DATA, Verdict.INSUFFICIENT, Verdict.PASS)


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst verdict; nothing at all is `NO_DATA`, never a pass."""
    return min(verdicts, key=WORST_FIRST.index, default=Verdict.NO_DATA)
