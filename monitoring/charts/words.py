"""Numbers as pages write them, by the metric's unit."""

from hawkops.core.templatetags.look import number
from monitoring.domain.metrics import Metric

NBSP = "\u202f"


def rate_words(value: float | None) -> tuple[str, str]:
    """Write tokens per second."""
    if value is None:
        return "–", ""
    return (number(round(value)) if value >= 100 else f"{value:.1f}"), "tok/s"


def seconds_words(value: float | None) -> tuple[str, str]:
    """Write a duration: milliseconds below one second."""
    if value is None:
        return "–", ""
    return (number(round(value * 1e3)), "ms") if value < 1 else (f"{value:.2f}", "s")


def bytes_words(value: float | None) -> tuple[str, str]:
    """Write a size; MB are 10^6 bytes and GB 10^9."""
    if value is None:
        return "–", ""
    return (f"{value / 1e9:.2f}", "GB") if value >= 1e9 else (number(round(value / 1e6)), "MB")


def words(value: float | None, unit: str) -> str:
    """Write a value of a unit in one piece."""
    if unit == "share":
        return "–" if value is None else f"{value * 100:.3g}{NBSP}%"
    pairs = {"s": seconds_words, "By": bytes_words, "tok/s": rate_words}
    if unit in pairs:
        return NBSP.join(pairs[unit](value)).strip(NBSP)
    return "–" if value is None else number(float(f"{value:.4g}"))


def spoken(metric: Metric) -> str:
    """Return the unit that `words` writes a metric's values in."""
    return "share" if metric.is_share else metric.unit


def scale_of(metric: Metric, highest: float) -> tuple[float, str]:
    """Return the factor and unit that a chart with this highest value is drawn in."""
    if metric.unit == "s":
        return (1.0, "s") if highest >= 1 else (1e3, "ms")
    if metric.unit == "By":
        return (1e-9, "GB") if highest >= 1e9 else (1e-6, "MB")
    if metric.unit == "1":
        return (100.0, "%") if metric.is_share else (1.0, "")
    return 1.0, metric.unit
