"""The bench's payloads are real ones, and no two are the same."""

from hawkops.core import clock
from monitoring.bench import otlp_payload, otlp_payloads
from monitoring.otlp.decoding import decode
from monitoring.otlp.parsing import parse


def test_payloads_are_taken_whole() -> None:
    body = otlp_payload(20)
    found = decode(parse(body, as_json=False), environment="demo", now=clock.now())
    assert (found.accepted, found.rejected) == (20, 0)
    assert len(found.sketches) == 20
    assert 2_500 < len(body) < 5_000
    mint = otlp_payloads(20)
    assert len({mint() for _ in range(100)}) == 100
    assert (
        parse(mint(), as_json=False).resource_metrics[0].resource.attributes[0].value.string_value.startswith("bench-")
    )
