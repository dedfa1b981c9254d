"""The bench's figures of whole pages and evaluations are taken from a real fleet's hours, and nothing of it stays."""

import pytest

from hawkops.bench import queries
from hawkops.history.actors import Actor
from monitoring.domain import panel
from monitoring.models import DeviceHour, Series
from monitoring.services.criteria import criteria_seed


@pytest.mark.django_db
def test_both_fleets_are_measured_in_one_transaction_and_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FLEETS", (10, 3_000))
    monkeypatch.setattr(queries, "TURNS", 1)
    monkeypatch.setattr(queries, "DEVICE_HOURS", 2)
    monkeypatch.setattr(panel, "HOUR_EXACT_MOST", 200)
    monkeypatch.setattr(panel, "HOUR_STEP", 100)
    criteria_seed(actor=Actor.system("test"))
    said: list[str] = []
    queries._wholes_measure(said.append)
    assert [line.partition(",")[0] for line in said[::3]] == ["all alert criteria", "one whole board over 48 h"]
    assert all("large fleet takes" in line for line in said[2::3])
    rows = int(said[1].partition("(")[2].partition(" rows")[0].replace("\u202f", ""))
    # an hour of 200 and four steps, twice
    assert 2 * 500 < rows < 2 * 700
    assert not DeviceHour.objects.exists()
    assert not Series.objects.exists()
