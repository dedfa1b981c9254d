"""The committed model is the one that the generator writes, and is recognised as synthetic."""

from pathlib import Path

from hawkops.fleet import model


def test_model__committed__has_its_digest_and_size() -> None:
    assert model.digest(model.PATH) == model.SHA256
    assert model.PATH.stat().st_size == 817_072
    assert model.expected_digest(model.PATH) == model.SHA256


def test_model__generated_with_other_sizes__is_synthetic_too(tmp_path: Path) -> None:
    other = tmp_path / "other.litertlm"
    other.write_bytes(model.PATH.read_bytes() + b"\0")
    assert model.is_synthetic(other, model.digest(other))
    assert model.expected_digest(other) is None


def test_model__digest_beside_it__is_expected(tmp_path: Path) -> None:
    other = tmp_path / "phone.litertlm"
    other.write_bytes(b"weights")
    (tmp_path / "phone.litertlm.sha256").write_text(f"{'AB' * 32}  phone.litertlm\n")
    assert model.expected_digest(other) == "ab" * 32
    assert not model.is_synthetic(other, model.digest(other))
