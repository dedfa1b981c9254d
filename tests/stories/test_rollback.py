"""A GPU driver that is slow since an update, in the simulated fleet: the search names it, level 2 reaches it alone, and undo
gives it back. And two people who press at once, which takes transactions that really commit."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connections

from hawkops.core import clock
from hawkops.core.errors import Conflict
from hawkops.fleet.scenarios import REFERENCE, REGRESSED_DRIVER
from hawkops.history.models import HistoryEntry
from rollout.models import EnvironmentFlags, Flag, Rollback
from rollout.selectors import harm, rollbacks
from rollout.services.flags import LITERT
from rollout.services.rollback import rollback, rollback_undo
from tests import apart
from tests.rollout.walking import SYSTEM, furnish
from tests.stories.fleet import ENVIRONMENT, HOUR
from tests.stories.simulated import Stage, staged

pytestmark = [pytest.mark.story, pytest.mark.fresh_database]
DEVICES = 400


@pytest.fixture(autouse=True)
def _stepped() -> Iterator[None]:
    """Always the same hour: by its seed a fleet does then what it always does."""
    clock.step_to((clock.now() + timedelta(days=1)).replace(hour=16, minute=0, second=0, microsecond=0))
    yield
    clock.step_to(None)


def on_gpu(stage: Stage, *, struck: bool) -> int:
    """How many devices that run LiteRT were told to use the GPU, with the slow driver or without."""
    return sum(
        device.variants.get("litert_gpu_backend") == "on"
        for device in stage.devices
        if (device.identity.soc == REFERENCE.soc and device.identity.gpu_driver == REGRESSED_DRIVER) is struck
    )


def test_story__a_regressed_driver__is_the_smallest_set_and_loses_the_gpu_alone() -> None:
    stage = staged("gpu-regression", devices=DEVICES, begins=clock.now() - HOUR)
    stage.begin()
    stage.hours(1, beats=False)
    before = on_gpu(stage, struck=True), on_gpu(stage, struck=False)
    assert min(before) > 20
    found = harm.search(ENVIRONMENT, stage.run)
    assert found.best is not None, found
    assert (found.best.backend, found.best.everywhere, found.best.restored) == ("gpu", False, True)
    where = [cohort.constraints for cohort in found.best.cohorts]
    assert [[str(one) for one in each] for each in where] == [[f"GPU driver is {REGRESSED_DRIVER}"]]
    made = rollback(environment=ENVIRONMENT, level=2, backends=["gpu"], cohorts=where, actor=SYSTEM)
    assert made is not None
    stage.run.refresh_from_db()
    assert stage.run.state == "paused"
    apart.run(stage._everybody_asks())
    assert (on_gpu(stage, struck=True), on_gpu(stage, struck=False)) == (0, before[1])
    rollback_undo(environment=ENVIRONMENT, number=made.pk, actor=SYSTEM, reason="The driver was updated")
    apart.run(stage._everybody_asks())
    assert (on_gpu(stage, struck=True), on_gpu(stage, struck=False)) == before
    stage.run.refresh_from_db()
    assert stage.run.state == "paused", "the phase stays paused"
    assert rollbacks.rollbacks(ENVIRONMENT)[0].rollback.undone_by == "test"


def test_presses__two_at_the_same_moment__halve_once_and_one_undo_wins() -> None:
    furnish()
    Flag.objects.filter(environment="staging", key=LITERT).update(thousandths=50_000)
    seen = EnvironmentFlags.objects.get(pk="staging").revision

    def at_once(act: Callable[[], object]) -> list[object]:
        together = Barrier(2)

        def one() -> object:
            together.wait(10)
            try:
                return act()
            except Conflict as refusal:
                return refusal
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as two:
            return [pressed.result() for pressed in [two.submit(one), two.submit(one)]]

    made = at_once(lambda: rollback(environment="staging", level=1, actor=SYSTEM, seen=seen))
    assert [one is None for one in sorted(made, key=lambda one: one is None)] == [False, True]
    assert Flag.objects.get(environment="staging", key=LITERT).thousandths == 25_000
    number = Rollback.objects.get().pk
    ended = at_once(lambda: rollback_undo(environment="staging", number=number, actor=SYSTEM, reason="Fixed"))
    assert sum(isinstance(one, Conflict) for one in ended) == 1
    assert (
        Flag.objects.get(environment="staging", key=LITERT).thousandths,
        HistoryEntry.objects.filter(verb="rollback.undone").count(),
    ) == (50_000, 1)
