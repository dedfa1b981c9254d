"""The one shape of a check: it is asked about one box of one release, and answers with a finding."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.domain.gates import Finding
from rollout.domain.runbook import Box
from rollout.models import Release


@dataclass(frozen=True)
class Question:
    """One box of one release. `environment` is where it is measured (staging, for a production release's first group).

    `at_once` asks for a fresh answer where an older one would do otherwise.
    """

    release: Release
    box: Box
    environment: str
    now: datetime
    at_once: bool = False


@dataclass(frozen=True)
class Check:
    """A check and how often the sweeper asks it; whatever leaves this process is asked less often."""

    ask: Callable[[Question], Finding]
    every: timedelta = timedelta(0)
