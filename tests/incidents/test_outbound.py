"""Calls to other machines go to the very address that was checked."""

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest

from hawkops.core import outbound
from hawkops.core.addresses import is_public
from hawkops.core.errors import InvalidInput
from hawkops.core.sealing import Unsealable, seal, unseal
from tests.incidents.sinks import Sink

PUBLIC = "192.88.99.200"


def resolve(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let a name point to one address after the other; returns what was looked up."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def found(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name != "rebind.example":
            return real(host, port, *rest, **more)
        asked.append(name)
        answer = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.delenv("OUTBOUND_PRIVATE", raising=False)
    return asked


def test_post__name_that_points_elsewhere_meanwhile__never_reaches_it(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = sink.url.rpartition(":")[2]
    monkeypatch.setattr(outbound, "SECONDS", 0.5)
    asked = resolve(monkeypatch, PUBLIC, PUBLIC, "127.0.0.1")
    with pytest.raises(outbound.Undelivered, match=r"rebind\.example"):
        outbound.post(f"https://rebind.example:{port}/", json={})
    assert len(asked) == 2, "connecting looks nothing up any more"
    assert sink.got == []
    asked = resolve(monkeypatch, PUBLIC, "127.0.0.1")
    with pytest.raises(InvalidInput, match="private network"):
        outbound.post(f"https://rebind.example:{port}/", json={})
    assert sink.got == []


def test_fetch__name_that_points_elsewhere_meanwhile__never_reaches_it(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = sink.url.rpartition(":")[2]
    monkeypatch.setattr(outbound, "SECONDS", 0.5)
    asked = resolve(monkeypatch, PUBLIC, PUBLIC, "127.0.0.1")
    with pytest.raises(outbound.Undelivered, match=r"rebind\.example"):
        outbound.fetch(f"https://rebind.example:{port}/", tmp_path / "model", bytes_most=10)
    assert len(asked) == 2, "connecting looks nothing up any more"
    assert sink.got == []


@pytest.mark.parametrize("status,headers", [(302, {"Location": "http://127.0.0.1:1/"}), (200, {})])
def test_calls__are_not_led_elsewhere(sink: Sink, tmp_path: Path, status: int, headers: dict[str, str]) -> None:
    """A redirect is an answer like any other."""
    sink.answer((status, "x", headers))
    assert outbound.post(f"{sink.url}/a", json={}).status == status
    assert len(sink.got) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
    ],
)
def test_addresses__private_ones__however_they_are_written(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_addresses__public_ones() -> None:
    for address in ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"):
        assert is_public(ipaddress.ip_address(address)), address


def test_post__keeps_the_name_and_the_bytes(sink: Sink) -> None:
    sink.answer((429, "later", {"Retry-After": "7"}))
    receipt = outbound.post(f"{sink.url}/x", content=b'{"a":  1}', headers={"Content-Type": "application/json"})
    assert (receipt.status, receipt.retry_after, receipt.accepted) == (429, "7", False)
    assert sink.got[0].body == b'{"a":  1}'
    assert sink.got[0].headers["host"] == sink.url.removeprefix("http://")


def test_sealing__opens_with_its_key_only(settings: Any) -> None:
    sealed = seal("https://hooks.example/secret")
    assert "secret" not in sealed
    assert (unseal(sealed), seal(""), unseal("")) == ("https://hooks.example/secret", "", "")
    with pytest.raises(Unsealable):
        unseal(sealed[:-4] + "AAAA")
    settings.SECRET_KEY = "another"
    with pytest.raises(Unsealable, match="enter it anew"):
        unseal(sealed)
