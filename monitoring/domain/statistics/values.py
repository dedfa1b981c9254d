"""One value per device, fixed once it counts: what keeps bounds honest that are looked at every minute.

A device's hourly aggregates go on coming, and those of one device are alike: taken one by one they are far fewer than they
look, and a mean that is rewritten at every look follows no law that a bound is made for. So a device's hours, counted from
its first in its arm, are cut into bands that double in length; a device has one value in a band, its mean over the band,
which counts from the moment the band's last hour is closed and never changes. In each band values then come one after
another, each of another device that was put in its arm by chance: what a confidence sequence asks for. Each band has its
own sequence and its own part of alpha (`spending`). The first hour finds what is wrong at once, later bands what takes its
time: a leak, a battery, a phone that grows hot. What is given up: nothing is concluded from an hour before it is closed, and
a band tells nothing of devices that were silent in it (`reporting` does).

A device that moves from the control to the treatment begins anew there; what it gave the control stays. One thing need not
wait: the first event of each device (its first crash in its arm) may be set against the control's at the minute it is
seen (`proportions.change`), because which arm it falls to is chance whatever has been seen of the others.
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# the hours of a device's age at which its bands end: the first hour, to 6 h, 24 h, 48 h, 4 d, 8 d, 16 d, 32 d
BAND_ENDS = (1, 6, 24, 48, 96, 192, 384, 768)


@dataclass(frozen=True)
class Values:
    """One value for each device, in the order in which they began to count."""

    devices: NDArray[np.int64]
    values: NDArray[np.float64]


def band(age_hours: int) -> int | None:
    """Return the band of an hour of a device's age, the first being 0; None for one before or beyond all bands."""
    found = bisect_right(BAND_ENDS, age_hours)
    return found if age_hours >= 0 and found < len(BAND_ENDS) else None


def by_band(
    devices: NDArray[np.int64],
    hours: NDArray[np.int64],
    amounts: NDArray[np.float64],
    of: NDArray[np.float64],
    *,
    first: NDArray[np.int64],
    closed_before: int,
) -> list[Values]:
    """Return the devices' values in each band: the sum of `amounts` by the sum of `of`, over the band's hours.

    The first four are columns of rows: a device's number from 0, an hour since 1970, and what was seen in it (total and
    count for a mean, failed and all inferences for a share). `first` is each device's first hour in its arm. A band counts
    when all its hours lie before the hour `closed_before`. A device with nothing in a band has no value there.
    """
    ages = hours - first[devices]
    found = []
    begin = 0
    for end in BAND_ENDS:
        rows = (ages >= begin) & (ages < end) & (first[devices] + end <= closed_before)
        sums = np.bincount(devices[rows], weights=amounts[rows], minlength=first.size)
        wholes = np.bincount(devices[rows], weights=of[rows], minlength=first.size)
        there = np.flatnonzero(wholes > 0)
        order = there[np.argsort(first[there], kind="stable")]
        found.append(Values(order, sums[order] / wholes[order]))
        begin = end
    return found
