"""The bench of the statistics runs to its end without an installation and keeps what it promises, on fewer runs."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from hawkops.bench import error_rates


def test_bench_statistics__says_every_figure_and_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_rates, "RUNS", 100)
    monkeypatch.setattr(error_rates, "SEARCHES", 8)
    out = StringIO()
    call_command("bench", "statistics", stdout=out)
    said = out.getvalue()
    alike, naive = (float(re.findall(word, said)[0]) for word in (r"false alarm in ([\d.]+)%", r"as often: ([\d.]+)%"))
    assert alike <= 2.0
    assert naive > 18
    flagged = re.search(r"flagged after (\d+) devices per arm", said)
    assert flagged is not None
    assert int(flagged[1]) <= error_rates.PROMISED_DEVICES
    assert "0 crashes in 200 devices for < 0.1 %: INSUFFICIENT, 3,121 needed" in said
    assert all(float(share) <= 8 for share in re.findall(r"(?:0\.4|1\.3|exponential) ([\d.]+)%", said))
    covered = re.findall(r"([\d.]+)% \(before (\d+)%\)", said)
    assert len(covered) == 4
    assert all(float(now) <= 5 and int(before) >= 15 for now, before in covered), said
    assert re.search(r"found in [78] of 8 runs", said)


def test_bench__unknown_measure__is_refused_before_anything_is_measured() -> None:
    out = StringIO()
    with pytest.raises(CommandError, match="There is no measure nothing; there are kill"):
        call_command("bench", "statistics", "nothing", stdout=out)
    assert out.getvalue() == ""
