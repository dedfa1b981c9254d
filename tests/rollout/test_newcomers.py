"""Device ids that a leaked key can invent: a burst of them alerts, and few or simulated ones are nobody's concern."""

import pytest

from monitoring.models import Alert
from monitoring.selectors.looks import NEWCOMERS_KEY
from monitoring.services.alerts import alerts_evaluate
from rollout.models import CensusDevice
from rollout.selectors.census import newcomers
from tests.rollout.walking import devices

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "known,new,burst",
    [(0, 0, False), (0, 499, False), (0, 500, True), (600, 600, False), (600, 601, True), (5_000, 700, False)],
)
def test_newcomers__more_than_were_known__are_a_burst(known: int, new: int, burst: bool) -> None:
    devices("staging", known, prefix="known")
    devices("staging", new, prefix="new", known=False)
    devices("production", 2_000, known=False)
    found = newcomers("staging")
    assert (found.active, found.new, found.is_burst) == (known + new, new, burst)


def test_burst__in_an_environment__alerts_there_and_ends() -> None:
    devices("staging", 700, known=False)
    alerts_evaluate(environments=("staging", "production"))
    alert = Alert.objects.get(key=NEWCOMERS_KEY)
    assert (alert.environment, alert.severity, alert.state) == ("staging", "warning", "firing")
    assert "700 of 700 active devices were never seen before the last hour" in alert.sentence
    CensusDevice.objects.update(simulated=True)
    assert not newcomers("staging").is_burst
