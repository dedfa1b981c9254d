"""Settings: typed, from the environment or a file, refused in words."""

from pathlib import Path

import pytest

from hawkops.core import env


def test_text__file_variable__is_read_and_stripped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("HAWKOPS_TEST_FILE", str(tmp_path / "secret"))
    assert env.text("HAWKOPS_TEST") == "from-file"


def test_text__absent__names_the_variable_and_the_way_out() -> None:
    with pytest.raises(env.BadSetting, match="HAWKOPS_ABSENT_FILE"):
        env.text("HAWKOPS_ABSENT")


def test_flag__other_word__is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAWKOPS_TEST", "maybe")
    with pytest.raises(env.BadSetting, match="use 1 or 0"):
        env.flag("HAWKOPS_TEST")


@pytest.mark.parametrize(
    "url,expected",
    [
        ("redis://127.0.0.1:6379/2", "redis://127.0.0.1:6379/2"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("unix:///run/valkey.sock?db=3", "redis+socket:///run/valkey.sock?virtual_host=3"),
    ],
)
def test_broker__unix_socket__is_spelled_as_celery_wants_it(url: str, expected: str) -> None:
    assert env.broker(url) == expected


def test_database__session_in_a_transaction__is_ended_before_whoever_waits_gives_up() -> None:
    options = env.database("postgresql://u:p@/name?host=/run/pg", session_timeout_ms=5000)["OPTIONS"]
    assert isinstance(options, dict)
    assert "lock_timeout=5000" in options["options"]
    assert "idle_in_transaction_session_timeout=4000" in options["options"]


def test_database__other_kind__is_refused() -> None:
    with pytest.raises(env.BadSetting, match="postgresql://"):
        env.database("sqlite:///x", session_timeout_ms=None)


def test_a_number_is_read_and_a_bad_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.number("HAWKOPS_ABSENT", 7) == 7
    monkeypatch.setenv("HAWKOPS_TEST", "2.5")
    assert env.number("HAWKOPS_TEST", 7) == 2.5
    for bad in ("many", "-1", "inf", "nan"):
        monkeypatch.setenv("HAWKOPS_TEST", bad)
        with pytest.raises(env.BadSetting, match="HAWKOPS_TEST"):
            env.number("HAWKOPS_TEST", 7)


def test_words__one_that_is_not_allowed__is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAWKOPS_TEST", "demo, staging")
    assert env.words("HAWKOPS_TEST", allowed=("demo", "staging")) == ["demo", "staging"]
    with pytest.raises(env.BadSetting, match="HAWKOPS_TEST holds 'staging'; use demo"):
        env.words("HAWKOPS_TEST", allowed=("demo",))
