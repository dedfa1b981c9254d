"""Target profiles: which number a device class, on a model, in a stage, on a backend has to reach.

The numbers stand in `production-thresholds.yaml`. A class without a profile has no absolute target. The profile of the
generated model on this kind of host is synthetic and holds in the environment demo only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hawkops.core.environments import Environment
from monitoring.domain.criteria import KEY, Path, Unfit, writable


class Stage(StrEnum):
    """Reading the prompt, or writing the answer."""

    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True)
class Target:
    """The floor that 95 % of readings have to reach, in tokens a second."""

    threshold: float


@dataclass(frozen=True, eq=False)
class Profile:
    """Targets of some device classes on some models."""

    name: str
    title: str
    device_classes: frozenset[str]
    environments: frozenset[str]
    synthetic: bool
    throughput: Mapping[tuple[Stage, str], float]

    def covers(self, *, device_class: str, environment: str) -> bool:
        """Whether the profile speaks of this class in this environment."""
        return device_class in self.device_classes and environment in self.environments

    def target(self, stage: Stage, backend: str) -> Target | None:
        """Return the floor on the 5th percentile of tokens per second, None when the profile has none."""
        threshold = self.throughput.get((stage, backend))
        return None if threshold is None else Target(threshold)


FLOOR_MOST = 1e6
PARTS = ("key", "title", "device_classes", "environments", "synthetic", "throughput")


def profile(data: Any, path: Path = ()) -> Profile:
    """Read a profile from plain data. Raises Unfit with the place of what is wrong."""
    if not isinstance(data, Mapping):
        raise Unfit(path, "a profile is a mapping")
    for name in data:
        if name not in PARTS:
            raise Unfit((*path, name), f"{name!r} is no part of a profile; there are {', '.join(PARTS)}")
    key, title = str(data.get("key") or ""), str(data.get("title") or "").strip()
    if not KEY.fullmatch(key):
        raise Unfit((*path, "key"), f"{key!r} is no key: small letters, digits and dashes, 3 to 60")
    if not title:
        raise Unfit(path, "title is missing")
    if not writable(title):
        raise Unfit((*path, "title"), "title has a character that can't be stored: a control character")
    throughput: dict[tuple[Stage, str], float] = {}
    stages = data.get("throughput")
    if not isinstance(stages, Mapping) or not stages:
        raise Unfit(path, "throughput is missing: for each stage the floor of each backend, in tokens a second")
    for stage, floors in stages.items():
        here = (*path, "throughput", stage)
        if stage not in list(Stage):
            raise Unfit(here, f"{stage!r} is no stage; there are {', '.join(Stage)}")
        if not isinstance(floors, Mapping):
            raise Unfit(here, "each stage has its floors by backend")
        for backend, floor in floors.items():
            if backend not in ("cpu", "gpu", "npu"):
                raise Unfit((*here, backend), f"{backend!r} is no local backend; there are cpu, gpu, npu")
            if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 < floor < FLOOR_MOST:
                raise Unfit((*here, backend), f"{floor!r} is no floor: tokens a second, above 0")
            throughput[Stage(stage), backend] = float(floor)
    synthetic = data.get("synthetic", False)
    if not isinstance(synthetic, bool):
        raise Unfit((*path, "synthetic"), "synthetic is true or false")
    places = _texts(data, "environments", path)
    for index, place in enumerate(places):
        if place not in list(Environment):
            message = f"{place!r} is no environment; there are {', '.join(Environment)}"
            raise Unfit((*path, "environments", index), message)
    return Profile(
        name=key,
        title=title[:120],
        device_classes=frozenset(_texts(data, "device_classes", path)),
        environments=frozenset(places),
        synthetic=synthetic,
        throughput=throughput,
    )


def document(found: Profile) -> dict[str, Any]:
    """Write a profile as the plain data it can be read from again."""
    throughput: dict[str, dict[str, float | int]] = {}
    for (stage, backend), floor in found.throughput.items():
        throughput.setdefault(stage.value, {})[backend] = int(floor) if floor == int(floor) else floor
    return {
        "key": found.name,
        "title": found.title,
        "device_classes": sorted(found.device_classes),
        "environments": sorted(found.environments),
        **({"synthetic": True} if found.synthetic else {}),
        "throughput": throughput,
    }


def _texts(data: Mapping[str, Any], name: str, path: Path) -> list[str]:
    value = data.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one.strip() for one in value):
        raise Unfit((*path, name), f"{name} is a list with at least one name")
    for index, one in enumerate(value):
        if not writable(one):
            raise Unfit((*path, name, index), f"{name} has a character that can't be stored: a control character")
    return [one.strip() for one in value]


class Profiles:
    """The profiles in force."""

    def __init__(self, found: Iterable[Profile]) -> None:
        self.all = tuple(found)

    def of(self, device_class: str, environment: str) -> Profile | None:
        """Return the profile that judges a device class there, None when it has no absolute target."""
        return next((p for p in self.all if p.covers(device_class=device_class, environment=environment)), None)

    def common(self, device_classes: Iterable[str], environment: str) -> Profile | None:
        """Return the profile that all classes share, None when they share none: no target spans two kinds of device."""
        found = {self.of(name, environment) for name in device_classes}
        return found.pop() if len(found) == 1 else None

    @property
    def synthetic_classes(self) -> frozenset[str]:
        """The device classes that only a synthetic profile speaks of."""
        return frozenset(name for p in self.all if p.synthetic for name in p.device_classes)
