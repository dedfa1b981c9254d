"""Stored telemetry for tests, without the door."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from monitoring.domain.sketch import Sketch
from monitoring.models import DeviceHour, PanelHour, RollupPartial, Series

Known = dict[tuple[object, ...], Series]


def row(
    metric: str,
    values: Sequence[float],
    at: datetime,
    *,
    environment: str = "demo",
    requested: str = "cpu",
    actual: str = "cpu",
    device_class: str = "synthetic-host",
    simulated: bool = False,
    outcome: str = "",
    variant: str = "",
    width: int = 10,
    known: Known | None = None,
) -> RollupPartial:
    """Make one row as the door would, not yet stored; `known` spares looking for the same series again."""
    named = (environment, metric, requested, actual, device_class, simulated, outcome, variant)
    series = known.get(named) if known is not None else None
    if series is None:
        series, _ = Series.objects.get_or_create(
            environment=environment,
            metric=metric,
            backend_requested=requested,
            backend_actual=actual,
            device_class=device_class,
            simulated=simulated,
            outcome=outcome,
            variant=variant,
        )
        if known is not None:
            known[named] = series
    sketch = _sketched(tuple(values))
    start = datetime.fromtimestamp(int(at.timestamp()) // width * width, tz=at.tzinfo)
    return RollupPartial(
        series=series,
        bucket_at=start,
        width_seconds=width,
        count=sketch.count,
        total=sketch.total,
        squares=sketch.squares,
        low=sketch.low,
        high=sketch.high,
        buckets=sketch.buckets_bytes(),
    )


@lru_cache(maxsize=512)
def _sketched(values: tuple[float, ...]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


def stored(metric: str, values: Sequence[float], at: datetime, **where: Any) -> RollupPartial:
    """Store one row as the door would; `where` as of `row`."""
    made = row(metric, values, at, **where)
    made.save(force_insert=True)
    return made


def seen(
    device_id: str,
    at: datetime,
    *,
    environment: str = "demo",
    device_class: str = "synthetic-host",
    simulated: bool = False,
    variant: str = "",
) -> DeviceHour:
    """Note a device as the door would."""
    return DeviceHour.objects.create(
        environment=environment,
        hour_at=at.replace(minute=0, second=0, microsecond=0),
        device_id=device_id,
        device_class=device_class,
        simulated=simulated,
        variant=variant,
    )


def in_panel(
    device_id: str,
    metric: str,
    at: datetime,
    *,
    environment: str = "demo",
    device_class: str = "synthetic-host",
    simulated: bool = False,
    actual: str = "",
    variant: str = "",
) -> PanelHour:
    """Keep a device's own value of a metric as the panel would."""
    return PanelHour.objects.create(
        environment=environment,
        hour_at=at.replace(minute=0, second=0, microsecond=0),
        device_id=device_id,
        device_class=device_class,
        simulated=simulated,
        metric=metric,
        backend_actual=actual,
        variant=variant,
        count=1,
        total=1.0,
        low=1.0,
        high=1.0,
    )


def steps(end: datetime, count: int, seconds: int = 10) -> list[datetime]:
    """Return moments before the end, oldest first."""
    return [end - timedelta(seconds=seconds * step) for step in reversed(range(count))]
