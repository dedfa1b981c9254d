"""Which devices a percentage means. The same device always has the same bucket under the same salt.

Source of the arithmetic: flagd's fractional evaluation, version 2 (multiply and shift: no modulo bias).
"""

import mmh3

BUCKETS = 100_000
# Keys that begin so are asked with by checks, not by devices: the census leaves them out.
PROBE_PREFIX = "hawkops.probe/"


def bucket(salt: str, targeting_key: str) -> int:
    """Return the device's bucket, 0 to 99 999 (thousandths of a percent)."""
    # seed 0, unsigned; it reads text as UTF-8
    return (mmh3.hash(f"{salt}:{targeting_key}", 0, False) * BUCKETS) >> 32


def included(salt: str, targeting_key: str, thousandths: int) -> bool:
    """Say whether the device is within the first `thousandths` buckets; raising the number never removes a device."""
    return bucket(salt, targeting_key) < thousandths
