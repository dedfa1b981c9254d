"""What several runs of one script say together: how many passed, how far measurements scatter. Pure arithmetic."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hawkops.core.verdicts import Verdict


@dataclass(frozen=True)
class Dispersion:
    """One measurement over several runs, in the unit it was measured in."""

    name: str
    backend: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def variation(self) -> float | None:
        """The coefficient of variation: sample standard deviation over mean.

        None for a single value and for a mean of zero, where it means nothing.
        """
        mean = statistics.fmean(self.values)
        return statistics.stdev(self.values) / abs(mean) if len(self.values) > 1 and mean else None


def dispersions(results: Iterable[dict[str, object]]) -> list[Dispersion]:
    """Gather the results of several runs by measurement and backend, in the order in which they first occur."""
    units: dict[tuple[str, str], str] = {}
    values: dict[tuple[str, str], list[float]] = {}
    for result in results:
        value = result.get("value")
        if isinstance(value, int | float) and not isinstance(value, bool):
            key = str(result.get("name")), str(result.get("backend") or "")
            units.setdefault(key, str(result.get("unit") or ""))
            values.setdefault(key, []).append(float(value))
    return [Dispersion(*key, units[key], tuple(found)) for key, found in values.items()]


def together(verdicts: Sequence[Verdict | None], needs: int) -> Verdict | None:
    """Return what runs of which `needs` must pass say together; None while one of them goes on.

    It fails only when too many failed; where those that said nothing might have made up the number, it can't say.
    """
    if None in verdicts:
        return None
    if verdicts.count(Verdict.PASS) >= needs:
        return Verdict.PASS
    if len(verdicts) - verdicts.count(Verdict.FAIL) < needs:
        return Verdict.FAIL
    return Verdict.ERROR if Verdict.ERROR in verdicts else Verdict.NO_DATA


@dataclass(frozen=True)
class Flakiness:
    """The newest like runs of a script, of which some passed and some failed."""

    failed: int
    runs: int

    def __str__(self) -> str:
        return f"flaky: {self.failed} of {self.runs} failed"
