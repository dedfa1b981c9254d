"""Whether devices of the treatment fall silent: an app that dies reports no bad value, it reports none at all."""

import math
from dataclasses import dataclass

from hawkops.core.verdicts import Verdict
from monitoring.domain.criteria import SAMPLES
from monitoring.domain.statistics.guardrails import TOLERATED, Line, Miss
from monitoring.domain.statistics.ratio import SampleRatio
from monitoring.domain.statistics.spending import SILENCE


@dataclass(frozen=True)
class Reports:
    """Of an arm's devices that had reported before an hour, how many reported in it. Each device counts once."""

    known: int
    heard: int

    @property
    def silent(self) -> int:
        """How many did not report."""
        return self.known - self.heard

    @property
    def share(self) -> float:
        """The share that reported; not a number without devices."""
        return self.heard / self.known if self.known else math.nan


def judge_reports(treatment: Reports, control: Reports, *, look: int, alpha: float = SILENCE) -> Line:
    """Judge one closed hour; `look` numbers the hours of the phase from 1.

    Hour k has alpha / (k * (k + 1)) of alpha, so that hours without end have alpha together, and the exact test of Fisher
    that the arms are silent alike. The same devices count in hour after hour: hours depend on each other, which a sum of
    their alphas need not care about. Passes while the treatment is at most 5 points behind.
    """
    about = f"{_heard(treatment)} of the treatment reported in the last hour, {_heard(control)} of the control"
    if not treatment.known or not control.known:
        return Line(Verdict.NO_DATA, f"{about}: nothing to compare")
    if not treatment.heard and not control.heard:
        return Line(Verdict.STALE, f"{about}: nobody reports")
    if silence(treatment, control) <= alpha / (look * (look + 1)):
        return Line(Verdict.FAIL, f"{about}: silent beyond chance", Miss.POSSIBLE)
    if min(treatment.known, control.known) < SAMPLES:
        return Line(Verdict.INSUFFICIENT, f"{about}; {SAMPLES} in each needed")
    if treatment.share < control.share - TOLERATED:
        return Line(Verdict.INSUFFICIENT, f"{about}: fewer, but chance may do that")
    return Line(Verdict.PASS, about, Miss.SAFE)


def judge_ratio(ratio: SampleRatio) -> Line:
    """Judge how many devices of treatment and control, in this order, have ever reported.

    Devices missing from the treatment are a finding; any other mismatch is an error of the comparison itself.
    """
    counts, expected = ratio.counts, ratio.expected
    about = f"{counts[0]} devices of the treatment reported, {expected[0]:.0f} of {sum(counts)} should be"
    if not sum(counts):
        return Line(Verdict.NO_DATA, "no device has reported")
    if ratio.mismatch and counts[0] < expected[0]:
        return Line(Verdict.FAIL, f"{about}: devices are missing beyond chance")
    if ratio.mismatch:
        return Line(Verdict.ERROR, f"{about}: too many, so that the arms can't be compared")
    if min(counts[:2]) < SAMPLES:
        return Line(Verdict.INSUFFICIENT, f"{about}; {SAMPLES} in each needed")
    return Line(Verdict.PASS, about, Miss.SAFE)


def silence(treatment: Reports, control: Reports) -> float:
    """Return how likely chance alone makes so many of the silent devices the treatment's, or more.

    Fisher's exact test (1935), one-sided: a hypergeometric tail. Arms are drawn by chance, so it is exact as it stands.
    """
    silent, heard = treatment.silent + control.silent, treatment.heard + control.heard
    most = min(silent, treatment.known)
    whole = _log_ways(silent + heard, treatment.known)
    return min(
        1.0,
        math.fsum(
            math.exp(_log_ways(silent, k) + _log_ways(heard, treatment.known - k) - whole)
            for k in range(treatment.silent, most + 1)
            if treatment.known - k <= heard
        ),
    )


def _log_ways(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def _heard(reports: Reports) -> str:
    return f"{reports.heard} of {reports.known}"
