"""What is read of the panel's devices: one pair of each, of the side, backends and classes that are asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring.domain.arms import Arm
from monitoring.domain.criteria import Criterion, criterion
from monitoring.domain.statistics.per_device import PerDevice
from monitoring.models import DeviceHourCount, PanelHour
from monitoring.selectors import comparison
from monitoring.selectors.judging import _Real
from monitoring.selectors.telemetry import Population

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = 48 * HOUR


def rule(metric: str, aggregate: str = "mean", **given: Any) -> Criterion:
    """A criterion of a decision on the treatment."""
    known: dict[str, Any] = {
        "key": "decision-x",
        "title": "X",
        "purpose": "go/no-go",
        "metric": metric,
        "aggregate": aggregate,
    }
    known |= {"window": "48h", "comparator": "<", "threshold": "1 %", "serves": "x", "arm": "treatment"}
    if aggregate == "mean":
        known["threshold"] = 1 if metric == "app.user.satisfaction" else "1 s"
    return criterion({**known, **given})


def kept(device: str, metric: str, total: float, count: int = 1, *, hours: float = 3, **where: Any) -> None:
    """Keep what a device observed in an hour."""
    known = {"device_class": "x", "simulated": False, "variant": "on", "outcome": "", "backend_actual": ""}
    at = (NOW - hours * HOUR).replace(minute=0)
    PanelHour.objects.create(
        environment="staging", hour_at=at, device_id=device, metric=metric, count=count, total=total, low=0, high=total,
        **{**known, **where},
    )  # fmt: skip


def side(one: Criterion, population: Population | None = None, **given: Any) -> PerDevice:
    """One side of a criterion, the treatment by default."""
    asked = {"arm": Arm.TREATMENT, "strict": False, "backends": one.over.backends, **given}
    return comparison.look("staging", [one], WINDOW, now=NOW).of_side(one, population, **asked)


def test_pairs__are_added_up_over_hours_and_series__one_of_each_device() -> None:
    metric = "http.client.request.duration"
    kept("a", metric, 4.0, 4)
    kept("a", metric, 2.0, 1, hours=30)
    kept("b", metric, 9.0, 3, variant="")
    kept("c", metric, 50.0, 1, variant="off")
    kept("d", metric, 50.0, 1, hours=60)
    kept("e", metric, 50.0, 1, simulated=True)
    found = side(rule(metric))
    assert (found.devices, found.amounts, found.of) == (2, 15.0, 8.0)
    assert found.mean == pytest.approx((6 / 5 + 3) / 2)
    assert found.newcomers == 1, "b came in the later half"
    assert side(rule(metric), strict=True).devices == 1, "who did not say is on neither side"
    control = rule(metric, "change of means", against="control", comparator="<=", threshold="5 %")
    assert side(control, arm=Arm.CONTROL, strict=True).mean == 50.0


def test_shares__are_of_the_same_side_and_backends() -> None:
    kept("a", "litert.inferences", 98, backend_actual="gpu", outcome="ok")
    kept("a", "litert.inferences", 2, backend_actual="gpu", outcome="timeout")
    kept("b", "litert.inferences", 50, backend_actual="cpu", outcome="ok")
    one = rule("litert.inferences", "ratio", of="litert.inferences", not_outcomes=["", "ok"])
    found = side(one)
    assert (found.devices, found.amounts, found.of, found.affected) == (2, 2.0, 150.0, 1)
    on_cpu = side(one, backends=("cpu",))
    assert (on_cpu.devices, on_cpu.amounts, on_cpu.of) == (1, 0.0, 50.0)


def test_counts__a_device_that_was_there_and_had_none__is_a_zero() -> None:
    for device in "abcd":
        kept(device, "app.sessions", 5)
    kept("a", "app.support_tickets", 2)
    one = rule("app.support_tickets", "change of means", against="control", comparator="<=", threshold="5 %")
    found = side(one, strict=True)
    assert (found.devices, found.affected, found.mean) == (4, 1, 0.5)


def test_population__classes_that_do_not_count__are_left_out() -> None:
    kept("a", "app.user.satisfaction", 4.0)
    kept("b", "app.user.satisfaction", 1.0, device_class="synthetic-host")
    one = rule("app.user.satisfaction", comparator=">=")
    assert side(one, _Real("real", "Real", without=frozenset(["synthetic-host"]))).mean == 4.0
    assert side(one, within="synthetic-host").mean == 1.0
    assert side(one, Population("", "", arm=Arm.CONTROL)).devices == 0


def test_keeps__what_the_panel_can_not_say__is_not_asked() -> None:
    assert comparison.keeps(rule("http.client.request.duration"))
    assert not comparison.keeps(rule("litert.fallback.duration"))
    assert not comparison.keeps(rule("http.client.request.duration", "max", threshold="1 s"))
    ran = rule("litert.inferences", "ratio", of="litert.inferences", elsewhere=True)
    assert not comparison.keeps(ran), "which backend was asked for is not kept"
    assert comparison.look("staging", [rule("litert.fallback.duration")], WINDOW, now=NOW).series == ()


def test_stands_for__the_hour_in_which_the_fewest_reported__tells() -> None:
    kept("a", "app.user.satisfaction", 4.0)
    one = rule("app.user.satisfaction", comparator=">=")
    assert side(one).stands_for == 1.0
    for hours, many in ((2, 30_000), (9, 8_000), (60, 5)):
        DeviceHourCount.objects.create(
            environment="staging", hour_at=NOW.replace(minute=0) - hours * HOUR, device_class="x", simulated=False,
            by_variant=False, devices=many, weight=1,
        )  # fmt: skip
    assert side(one).stands_for == 2.0


def test_what_took_long__is_kept_a_while__and_what_did_not_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = rule("app.user.satisfaction", comparator=">=")
    kept("a", "app.user.satisfaction", 4.0)
    assert side(one).devices == 1
    kept("b", "app.user.satisfaction", 4.0)
    assert side(one).devices == 2
    monkeypatch.setattr(comparison, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(comparison, "KEPT_TIMES", 1_000_000)
    assert side(one).devices == 2
    kept("c", "app.user.satisfaction", 4.0)
    assert side(one).devices == 2
    other = replace(one, window=12 * HOUR)
    assert comparison.look("staging", [other], 12 * HOUR, now=NOW).of_side(
        other, None, arm=Arm.TREATMENT, strict=False, backends=()
    ).devices == 3  # fmt: skip
