"""How much chance of a false alarm each comparison of a phase may have, so that all of them together have one per cent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from monitoring.domain.cardinality import OTHER
from monitoring.domain.statistics import ratio

# of a whole phase, by whatever guardrail, however often looked at
ALPHA = 0.01
# what sample-ratio mismatch and silence of an arm have of it
RATIO, SILENCE = ratio.ALPHA, 0.001
# of a guardrail with an absolute limit: what the comparison with the control has of it
OF_CONTROL = 0.8


@dataclass(frozen=True)
class Budget:
    """The parts of a phase's alpha, settled when it starts. Union bound: whatever depends on what, they add up."""

    guardrails: Mapping[str, float]
    classes: tuple[str, ...] = ()

    def alpha(self, guardrail: str, *, band: int, device_class: str = "") -> float:
        """Return the chance of a false alarm of one guardrail in one band, of all devices or of one class.

        Half goes to all devices and half to the classes in equal parts, a class that was not known when the phase started
        being `other`. Of that the first band has a half, the next a quarter, and so on. Raises KeyError for a guardrail
        that was not there when the phase started, and for any class when none was.
        """
        whole = self.guardrails[guardrail]
        if not self.classes:
            if device_class:
                raise KeyError(f"{device_class}: this phase was to look at no classes")
            part = whole
        else:
            part = whole / 2 / (len({*self.classes, OTHER}) if device_class else 1)
        return float(part * 0.5 ** (band + 1))

    def counted_as(self, device_class: str) -> str:
        """Return the name under which a class has its part."""
        return device_class if device_class in self.classes else OTHER


def spend(weights: Mapping[str, float], classes: Iterable[str] = (), *, alpha: float = ALPHA) -> Budget:
    """Share alpha out over a phase's guardrails by weight, after what mismatch and silence have of it.

    Raises ValueError for weights that are not positive, or nothing left to share.
    """
    left = alpha - RATIO - SILENCE
    whole = sum(weights.values())
    if left <= 0 or any(weight <= 0 for weight in weights.values()):
        raise ValueError(f"Weights are positive, and alpha is more than {RATIO + SILENCE}.")
    shares = {key: left * weight / whole for key, weight in weights.items()}
    return Budget(shares, tuple(sorted(set(classes))))
