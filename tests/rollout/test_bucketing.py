"""Buckets: published vectors, nested percentages, and an even spread."""

import json
from pathlib import Path

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import domain
from rollout.domain.bucketing import BUCKETS, HASHES, bucket, hash32, included, limit, salted

# bucket = (murmur3_x86_32(utf8(salt + ":" + key), 0) * 100000) >> 32, cross-checked with a second implementation below
VECTORS = [
    ("litert_enabled-1", "device-1"),
    ("litert_enabled-1", "device-2"),
    ("litert_gpu_backend-1", "device-1"),
    ("s1", "9f2c-71e4-ab03"),
    ("s1", ""),
    ("s1", "Gerät-ü"),
    ("s1", "设备"),
    ("", "a"),
]


def murmur3(data: bytes) -> int:
    """MurmurHash3 x86 32 as its author wrote it down, seed 0."""

    def rotated(value: int, by: int) -> int:
        return ((value << by) | (value >> (32 - by))) & 0xFFFFFFFF

    h = 0
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        h = (rotated(h ^ rotated(k, 15) * 0x1B873593 & 0xFFFFFFFF, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    if rest := data[whole:]:
        k = int.from_bytes(rest, "little") * 0xCC9E2D51 & 0xFFFFFFFF
        h ^= rotated(k, 15) * 0x1B873593 & 0xFFFFFFFF
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


@pytest.mark.parametrize("salt,key", VECTORS)
def test_bucket__published_vector__equals_the_formula(salt: str, key: str) -> None:
    assert bucket(salt, key) == murmur3(f"{salt}:{key}".encode()) * 100_000 >> 32


def test_bucket__vectors_for_device_authors__equal_the_formula() -> None:
    published = json.loads(Path(domain.__file__).with_name("bucket-vectors.json").read_text())
    assert len(published["vectors"]) >= 10
    for key, expected in published["vectors"]:
        said = f"{published['salt']}:{key}".encode()
        assert bucket(published["salt"], key) == (murmur3(said) * 100_000) >> 32 == expected


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", 0),
        ("test", 0xBA6BD213),
        ("Hello, world!", 0xC0363E43),
        ("The quick brown fox jumps over the lazy dog", 0x2E4FF723),
    ],
)
def test_murmur3__vectors_published_for_seed_0__are_what_the_library_gives(text: str, expected: int) -> None:
    assert mmh3.hash(text.encode(), seed=0, signed=False) == murmur3(text.encode()) == expected


@pytest.mark.parametrize(
    "text,expected", [("ejOoVL", 0), ("bY9fO-", 1), ("SI7p-", 2**31 - 1), ("6LvT0", 2**31), ("ceQdGm", 2**32 - 1)]
)
def test_murmur3__preimages_published_by_flagd__give_their_hash(text: str, expected: int) -> None:
    assert murmur3(text.encode()) == expected


@given(st.text(max_size=60), st.text(max_size=60))
def test_bucket__any_key__is_within_range_and_stable(salt: str, key: str) -> None:
    salt, key = (text.encode("utf-8", "ignore").decode() for text in (salt, key))
    assert 0 <= bucket(salt, key) < BUCKETS
    assert bucket(salt, key) == bucket(salt, key)


@given(st.integers(0, BUCKETS), st.integers(0, BUCKETS), st.uuids())
def test_included__raised__never_removes_a_device(one: int, other: int, device: object) -> None:
    low, high = sorted((one, other))
    assert not included("salt", str(device), low) or included("salt", str(device), high)


def test_included__everybody_and_nobody() -> None:
    keys = [f"device-{number}" for number in range(5_000)]
    assert all(included("s", key, BUCKETS) for key in keys)
    assert not any(included("s", key, 0) for key in keys)


@pytest.mark.parametrize("salt", ["even", "litert_enabled-1", "ü"])
def test_bucket__many_devices__spreads_evenly(salt: str) -> None:
    counts = [0] * 100
    for number in range(100_000):
        counts[bucket(salt, f"device-{number}") // 1_000] += 1
    chi_square = sum((count - 1_000) ** 2 / 1_000 for count in counts)
    assert chi_square < 149.4  # 99.9 % of the distribution with 99 degrees of freedom


@given(st.integers(0, BUCKETS), st.text(max_size=20), st.text(max_size=20))
def test_limit__of_a_share__is_below_which_a_hash_is_included(thousandths: int, salt: str, key: str) -> None:
    assert (hash32(salted(salt) + key, 0, False) < limit(thousandths)) is included(salt, key, thousandths)


@given(st.integers(0, BUCKETS))
def test_limit__of_a_share__is_exactly_where_the_next_bucket_begins(thousandths: int) -> None:
    below = limit(thousandths)
    assert (below * BUCKETS) >> 32 == thousandths
    assert below == 0 or ((below - 1) * BUCKETS) >> 32 == thousandths - 1
    assert limit(BUCKETS) == HASHES
