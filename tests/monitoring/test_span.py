"""`manage.py fleet --span`: a past of the fleet in demo, through the real door, at its own times."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from hawkops.core import clock
from monitoring.models import DeviceHour, DeviceHourCount, RollupPartial, Series
from monitoring.services import rollups
from tests import apart

pytestmark = pytest.mark.fresh_database


def test_fleet__span__stands_in_demo_at_its_own_times_and_the_clock_runs_again() -> None:
    said = StringIO()
    began = clock.now()
    words = ("--span", "6h", "--step", "300", "--devices", "8", "--steady")
    apart.call(lambda: call_command("fleet", *words, stdout=said))
    assert "8 simulated devices, the last 6h, in demo: 576 exports taken." in said.getvalue()
    assert set(Series.objects.values_list("environment", "simulated")) == {("demo", True)}
    inferences = Series.objects.filter(metric="litert.inferences").values_list("pk", flat=True)
    moments = sorted(RollupPartial.objects.filter(series__in=inferences).values_list("bucket_at", flat=True))
    assert timedelta() <= moments[0] - (began - timedelta(hours=6)) <= timedelta(minutes=6)
    assert timedelta() <= began - moments[-1] < timedelta(minutes=6)
    hours = set(DeviceHour.objects.values_list("hour_at", flat=True))
    assert len(hours) in (6, 7)
    assert clock.now() >= began
    counted = DeviceHourCount.objects.filter(environment="demo", by_variant=False)
    assert {one.hour_at for one in counted} == hours - {max(hours)}
    # what is older than the finest tier reaches stands in the coarser ones, whole
    chosen = RollupPartial.objects.filter(series__in=inferences)
    whole = sum(chosen.values_list("total", flat=True))
    rollups.rollups_move_up()
    rollups.partitions_keep()
    for width in (60, 600, 3_600):
        assert sum(chosen.filter(width_seconds=width).values_list("total", flat=True)) == whole > 0
    assert chosen.filter(width_seconds=10).earliest("bucket_at").bucket_at > began - timedelta(hours=5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--span", "long"], "--span must be a span up to 31d, such as 48h or 7d, and 'long' is none."),
        (["--span", "40d"], "--span must be a span up to 31d, such as 48h or 7d, and '40d' is none."),
        (
            ["--span", "1h", "--step", "1"],
            "--step must be 10 to 3600 seconds and no longer than the span, and '1' is not.",
        ),
    ],
)
def test_fleet__span_that_makes_no_sense__is_one_sentence_and_status_two(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("fleet", *words)
    assert str(refused.value) == sentence
    assert refused.value.returncode == 2
    assert not Series.objects.exists()
