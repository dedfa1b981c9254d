"""Which devices a percentage means. The same device always has the same bucket under the same salt.

Source of the arithmetic: flagd's fractional evaluation, version 2 (multiply and shift: no modulo bias).
"""

from collections.abc import Callable

import mmh3

BUCKETS = 100_000
HASHES = 1 << 32
# A device's hash is hash32(salted(salt) + targeting key, 0, False): seed 0, unsigned; it reads text as UTF-8.
hash32: Callable[[str, int, bool], int] = mmh3.hash
# Keys that begin so are asked with by checks, not by devices: the census leaves them out.
PROBE_PREFIX = "hawkops.probe/"


def salted(salt: str) -> str:
    """Return what stands before the targeting key when it is hashed."""
    return f"{salt}:"


def bucket(salt: str, targeting_key: str) -> int:
    """Return the device's bucket, 0 to 99 999 (thousandths of a percent)."""
    return (hash32(salted(salt) + targeting_key, 0, False) * BUCKETS) >> 32


def limit(thousandths: int) -> int:
    """Return the number below which a device's hash must be for its bucket to be within the first `thousandths`."""
    return -(-thousandths * HASHES // BUCKETS)


def included(salt: str, targeting_key: str, thousandths: int) -> bool:
    """Say whether the device is within the first `thousandths` buckets; raising the number never removes a device."""
    return bucket(salt, targeting_key) < thousandths
