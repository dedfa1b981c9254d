"""What strangers send: bounded, strict, and refused in words."""

import gzip
import time
import zlib

import pytest

from hawkops.core.bounded import Malformed, TooLarge, UnsupportedEncoding, decompress, json_loads


@pytest.mark.parametrize("encoding,squeeze", [("gzip", gzip.compress), ("deflate", zlib.compress), ("", bytes)])
def test_decompress__understood_encoding__returns_the_bytes(encoding: str, squeeze: object) -> None:
    body = b"hello" * 1000
    assert decompress(squeeze(body), encoding, limit_bytes=10_000) == body  # type: ignore[operator]


def test_decompress__bomb__stops_at_the_limit_at_once() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    started = time.perf_counter()
    with pytest.raises(TooLarge):
        decompress(bomb, "gzip", limit_bytes=1_000_000)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(b"hello" * 100, mtime=0)[:-12], b""], ids=["noise", "cut", "empty"]
)
def test_decompress__broken_data__is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        decompress(body, "gzip", limit_bytes=1000)


def test_decompress__unknown_encoding__says_what_is_understood() -> None:
    with pytest.raises(UnsupportedEncoding, match="gzip, deflate or identity"):
        decompress(b"", "br", limit_bytes=10)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a": NaN}', b"[Infinity]", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000],
)
def test_json_loads__bad_input__is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        json_loads(data)


def test_json_loads__brackets_inside_strings__do_not_count_as_depth() -> None:
    assert json_loads(b'{"a": "' + b"[" * 1000 + b'\\""}') == {"a": "[" * 1000 + '"'}
