"""The bench's measures of flags and streams run to their end on a real gateway and say their figures."""

from pathlib import Path

import pytest

from hawkops.bench import changes, measures
from rollout.models import Flag
from rollout.selectors.flags import revision
from tests import apart
from tests.rollout.conftest import Gateway

pytestmark = pytest.mark.fresh_database


def test_measures__small__say_their_figures_and_leave_no_override(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measures, "SECONDS", 0.3)
    monkeypatch.setattr(changes, "PRESSES", 2)
    target = measures.Target(console="", gateway=gateway.url, data=tmp_path, key=gateway.key, cookie="")
    said: list[str] = []
    apart.call(lambda: measures.flags_measure(target, said.append))
    assert "bulk evaluations of 10 flags, 0 of them divide devices: " in said[0]
    assert "other answers" not in said[0] + said[1]
    assert "ratio" in said[1]
    apart.call(lambda: changes.changes_measure(target, said.append))
    assert said[2].startswith("kill committed → changed answer: median ")
    apart.call(lambda: changes.streams_measure(target, said.append, many=100, presses=1))
    assert said[3].startswith("100 idle event streams: ")
    assert "raw asyncio" in said[5]
    assert not Flag.objects.exclude(override_variant="").exists()
    # two kills answered, one told by the gateway and one by the raw loop, each lifted again
    assert revision("demo") == 1 + 2 * 4
