"""The bench's measures of flags and streams run to their end on a real gateway and say their figures."""

from pathlib import Path

import pytest

from hawkops.bench import changes, evaluations, measures
from rollout.models import Flag
from rollout.selectors.flags import revision
from rollout.services.groups import groups_seed
from tests import apart
from tests.rollout.conftest import SYSTEM, Gateway

pytestmark = pytest.mark.fresh_database


def test_measures__small__say_their_figures_and_leave_no_override(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluations, "ROUNDS", 2)
    monkeypatch.setattr(changes, "PRESSES", 2)
    target = measures.Target(console="", gateway=gateway.url, data=tmp_path, key=gateway.key, cookie="")
    said: list[str] = []
    groups_seed(actor=SYSTEM)
    before = {flag.key: (flag.thousandths, flag.rules, flag.pinned) for flag in Flag.objects.all()}
    apart.call(lambda: evaluations.flags_measure(target, said.append))
    assert "bulk evaluations of 12 flags as they stand, 0 of them divide this device: " in said[0]
    assert "with 5 at 50 %, rules and a pin, 5 of them divide this device: " in said[3]
    assert "other answers" not in "".join(said)
    assert "ratio" in said[1]
    assert "processor time of an answer: " in said[2]
    assert "ratio" in said[4]
    assert {flag.key: (flag.thousandths, flag.rules, flag.pinned) for flag in Flag.objects.all()} == before
    said.clear()
    began = revision("demo")
    apart.call(lambda: changes.changes_measure(target, said.append))
    assert said[0].startswith("kill committed → changed answer: median ")
    apart.call(lambda: changes.streams_measure(target, said.append, many=100, presses=1))
    assert said[1].startswith("100 idle event streams: ")
    assert "raw asyncio" in said[3]
    assert not Flag.objects.exclude(override_variant="").exists()
    # two kills answered, one told by the gateway and one by the raw loop, each lifted again
    assert revision("demo") == began + 2 * 4
