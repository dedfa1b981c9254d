"""Reading orders out of an answer: what is absent, failed or of the wrong type is safe."""

from typing import Any

import pytest

from hawkops.fleet.orders import SAFE, Orders, changes, orders_from, variants_from


def flag(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "variant": "on", "reason": "STATIC"}


def test_orders__safe__means_no_litert_and_cloud() -> None:
    assert not SAFE.litert_enabled
    assert SAFE.ai_fallback_to_cloud
    assert orders_from([]) == SAFE


def test_orders__complete_answer__is_read() -> None:
    orders = orders_from([flag("litert_enabled", True), flag("litert_switching_threshold", 0.1), flag("other", 1)])
    assert orders == Orders(litert_enabled=True, litert_switching_threshold=0.1)


@pytest.mark.parametrize("value", ["true", 1, None, {"on": True}, [True]])
def test_orders__boolean_of_another_type__is_safe(value: Any) -> None:
    orders = orders_from([flag("litert_enabled", value), flag("ai_fallback_to_cloud", value)])
    assert orders == SAFE


@pytest.mark.parametrize("value", [True, "4", None])
def test_orders__number_of_another_type__is_safe(value: Any) -> None:
    assert orders_from([flag("litert_max_concurrent_inferences", value)]) == SAFE


@pytest.mark.parametrize(("value", "kept"), [(0, 1), (4.0, 4), (1000, 8)])
def test_orders__number_beyond_its_limits__is_limited(value: float, kept: int) -> None:
    orders = orders_from([flag("litert_max_concurrent_inferences", value)])
    assert orders.litert_max_concurrent_inferences == kept
    assert isinstance(orders.litert_max_concurrent_inferences, int)


def test_orders__failed_or_valueless_flag__is_safe() -> None:
    failed = {"key": "litert_enabled", "errorCode": "GENERAL", "value": True}
    assert orders_from([failed, {"key": "ai_fallback_to_cloud", "reason": "DISABLED"}]) == SAFE


def test_orders__both_accelerators__ask_for_the_npu() -> None:
    assert Orders(litert_gpu_backend=True, litert_npu_backend=True).backend_requested == "npu"
    assert Orders(litert_gpu_backend=True).backend_requested == "gpu"
    assert SAFE.backend_requested == "cpu"


def test_changes__several__are_said_in_words() -> None:
    new = Orders(litert_enabled=True, litert_switching_threshold=0.1)
    assert changes(SAFE, new) == ["litert_enabled on", "litert_switching_threshold 0.1"]
    assert changes(new, new) == []


def test_variants__served__are_kept() -> None:
    assert variants_from([flag("litert_enabled", True), {"key": "x"}]) == {"litert_enabled": "on"}
