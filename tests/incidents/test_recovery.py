"""After a rollback its checks run by themselves, once, when there is enough to look at."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.history.models import HistoryEntry
from hawkops.scripts.models import Run
from incidents.selectors.recovery import CHECKS, recovery
from incidents.services.recovery import recoveries_due
from rollout.models import Flag
from rollout.selectors import rollbacks
from rollout.services import overrides
from rollout.services.rollback import rollback
from tests.rollout.walking import SYSTEM, begin, furnish

pytestmark = pytest.mark.django_db
HALF_HOUR = timedelta(minutes=30)


def later(step: timedelta) -> None:
    """Let time pass."""
    clock.step_to(clock.now() + step)


@pytest.fixture(autouse=True)
def _killed() -> Any:
    """LiteRT is killed in staging, on a clock that the test steps."""
    furnish()
    clock.step_to(clock.now())
    overrides.kill(environment="staging", actor=SYSTEM, reason="Production incident")
    yield
    clock.step_to(None)


def test_recoveries__when_the_time_has_passed__are_asked_once_with_their_cause() -> None:
    assert recoveries_due() == 0
    later(HALF_HOUR - timedelta(seconds=1))
    assert recoveries_due() == 0
    later(timedelta(seconds=1))
    assert recoveries_due() == len(CHECKS)
    runs = {run.script: run.arguments for run in Run.objects.filter(environment="staging")}
    assert runs == {
        "scripts/verify-system-stability.sh": {"duration": "30m"},
        "scripts/check-performance-recovery.sh": {},
        "scripts/validate-user-experience.sh": {"metrics": "satisfaction,engagement"},
    }
    killed = HistoryEntry.objects.get(verb="flag.killed")
    asked = HistoryEntry.objects.filter(verb="run.requested")
    assert {(entry.cause_id, entry.actor) for entry in asked} == {(killed.seq, "rule:recovery")}
    later(HALF_HOUR)
    assert recoveries_due() == 0


def test_recoveries__rolled_back_again__look_at_the_time_since_then() -> None:
    later(timedelta(minutes=20))
    overrides.backends_disable(environment="staging", actor=SYSTEM, reason="Stability issues")
    later(timedelta(minutes=20))
    assert recoveries_due() == 0
    later(timedelta(minutes=10))
    assert recoveries_due() == len(CHECKS)


def test_recoveries__halved_by_hand__are_asked_as_after_any_rollback() -> None:
    later(timedelta(minutes=20))
    Flag.objects.filter(environment="staging", key="litert_enabled").update(thousandths=50_000)
    made = rollback(environment="staging", level=1, actor=SYSTEM)
    assert made is not None
    later(timedelta(seconds=1))
    found = recovery("staging")
    assert found is not None
    assert (found.rollback.title, found.rollback.entry) == (
        "rollback of level 1, Performance degradation",
        rollbacks.entry_of(made),
    )
    later(HALF_HOUR)
    assert recoveries_due() == len(CHECKS)


def test_recoveries__a_drill_or_a_day_later__ask_nothing() -> None:
    later(timedelta(days=1, seconds=1))
    assert (recovery("staging"), recoveries_due()) == (None, 0)
    begin("staging")
    overrides.backends_disable(environment="staging", actor=SYSTEM, reason="Pre-deployment test")
    later(timedelta(seconds=1))
    assert recovery("staging") is None


def test_page__says_when_they_run_and_how_they_ended(
    person: Callable[..., Any], client_as: Callable[..., Client]
) -> None:
    client = client_as(person("operator", Role.OPERATOR))

    def page() -> str:
        return client.get("/staging/emergency").content.decode()

    later(timedelta(seconds=1))
    assert page().count("Runs by itself at") == len(CHECKS)
    later(HALF_HOUR)
    assert page().count("It is asked within a minute.") == len(CHECKS)
    recoveries_due()
    assert page().count(">queued<") == len(CHECKS)
    Run.objects.update(state="passed", finished_at=clock.now())
    assert "The rollback is done: every check passed." in page()
    Run.objects.filter(script="scripts/check-performance-recovery.sh").update(state="failed")
    assert "A rollback is done when all of them pass." in page()
