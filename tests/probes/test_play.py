"""The Play track against a stand-in that refuses what Play refuses."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hawkops.scripts.probes import findings, play
from hawkops.scripts.probes.measuring import Exit
from tests.probes.play_standin import NO_DOWNGRADE, Store, serving


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    bundle = tmp_path / "app.aab"
    bundle.write_bytes(b"PK" + b"\0" * 5000)
    with serving(tmp_path) as (found, url, account):
        for name, value in (("PLAY_API_URL", url), ("PLAY_SERVICE_ACCOUNT", str(account)), ("APP_BUNDLE", str(bundle))):
            monkeypatch.setenv(name, value)
        for name in ("PLAY_TRACKS", "ANDROID_PACKAGE"):
            monkeypatch.delenv(name, raising=False)
        yield found


def release(code: int, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"versionCodes": [str(code)], "status": status, **more}


def judged(found: Iterator[findings.Finding]) -> tuple[Exit, str]:
    lines = list(found)
    return findings.together(line.outcome for line in lines), " · ".join(line.sentence for line in lines)


def test_deploy__replaces_what_was_complete_and_keeps_the_rest(store: Store) -> None:
    draft = release(43, "draft")
    store.tracks = {"internal": [release(41), draft], "production": [release(40)]}

    outcome, said = judged(play.deploy("internal"))

    assert outcome is Exit.PASSED, said
    assert store.tracks == {"internal": [release(42), draft], "production": [release(40)]}
    assert store.uploaded == 5002
    assert store.edits == {}


def test_deploy__track_with_another_id__is_renamed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAY_TRACKS", '{"internal": "qa"}')

    assert judged(play.deploy("internal"))[0] is Exit.PASSED
    assert list(store.tracks) == ["qa"]


def test_deploy__lower_code__is_refused_with_what_to_do_and_gives_the_edit_up(store: Store) -> None:
    store.tracks = {"internal": [release(99)]}

    outcome, said = judged(play.deploy("internal"))

    assert (outcome, NO_DOWNGRADE in said, "higher one" in said) == (Exit.FAILED, True, True)
    assert store.tracks == {"internal": [release(99)]}
    assert any(asked.startswith("DELETE") for asked in store.asked)


@pytest.mark.parametrize("name", ["PLAY_SERVICE_ACCOUNT", "APP_BUNDLE"])
def test_deploy__without_what_it_needs__is_a_lack(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)

    outcome, said = judged(play.deploy("internal"))

    assert (outcome, name in said, store.asked) == (Exit.UNMEASURED, True, [])


def test_rollback__staged__is_halted_and_the_rest_sent_back(store: Store) -> None:
    store.tracks = {"production": [release(42, "inProgress", userFraction=0.05), release(41)]}

    outcome, said = judged(play.rollback("previous", "production"))

    assert outcome is Exit.PASSED, said
    assert store.tracks["production"] == [release(42, "halted", userFraction=0.05), release(41)]
    assert "keep the build they have" in said


def test_rollback__complete__is_halted_so_that_play_serves_the_previous_one(store: Store) -> None:
    store.tracks = {"production": [release(42)]}

    assert judged(play.rollback("previous", "production"))[0] is Exit.PASSED
    assert store.tracks["production"] == [release(42, "halted")]


def test_rollback__nothing_to_halt__says_so_and_commits_nothing(store: Store) -> None:
    store.tracks = {"production": [release(42, "halted", userFraction=0.05)]}

    outcome, said = judged(play.rollback("previous", "production"))

    assert (outcome, "halted or a draft already" in said) == (Exit.FAILED, True)
    assert not any(":commit" in asked for asked in store.asked)


@pytest.mark.parametrize(("version", "track"), [("1.2.3", "production"), ("previous", "../edits")])
def test_rollback__nonsense__is_refused(store: Store, version: str, track: str) -> None:
    store.tracks = {"production": [release(42)]}

    assert judged(play.rollback(version, track))[0] is Exit.FAILED
    assert store.tracks == {"production": [release(42)]}


def test_credentials__that_are_none__are_a_lack(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.json").write_text("{}")
    monkeypatch.setenv("PLAY_SERVICE_ACCOUNT", str(tmp_path / "bad.json"))

    assert judged(play.rollback("previous", "production"))[0] is Exit.UNMEASURED


def test_credentials__that_google_does_not_accept__are_a_lack_with_its_reason(store: Store) -> None:
    store.tracks, store.knows_account = {"production": [release(42)]}, False
    for act in (play.deploy("production"), play.rollback("previous", "production")):
        outcome, said = judged(act)

        assert (outcome, "no credentials that Google accepts: invalid_grant" in said) == (Exit.UNMEASURED, True), said
    assert (store.tracks, store.edits) == ({"production": [release(42)]}, {})


def test_sign_in__unreachable__fails_with_a_sentence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = json.loads(Path(os.environ["PLAY_SERVICE_ACCOUNT"]).read_text())
    (tmp_path / "away.json").write_text(json.dumps({**account, "token_uri": "http://127.0.0.1:1/token"}))
    monkeypatch.setenv("PLAY_SERVICE_ACCOUNT", str(tmp_path / "away.json"))

    outcome, said = judged(play.rollback("previous", "production"))
    assert (outcome, said.startswith("signing in with Google failed: ")) == (Exit.FAILED, True), said


def test_drafts__without_a_version_code__are_kept_and_no_trouble(store: Store) -> None:
    draft = {"name": "next", "status": "draft"}
    store.tracks = {"production": [release(42, "inProgress", userFraction=0.1), draft, release(40)]}

    assert judged(play.deploy("production", dry_run=True))[0] is Exit.PASSED
    outcome, said = judged(play.rollback("41", "production", dry_run=True))
    assert (outcome, "halted: 42" in said) == (Exit.PASSED, True), said
    outcome, said = judged(play.rollback("previous", "production"))
    assert outcome is Exit.PASSED, said
    assert draft in store.tracks["production"]


@pytest.mark.parametrize("tracks", ["[]", '"qa"', "7", "{", '{"internal": 7}', '{"internal": null}'])
def test_tracks__renamed_by_nonsense__fail_with_what_is_wanted(
    store: Store, tracks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAY_TRACKS", tracks)
    for act in (play.deploy("internal"), play.rollback("previous", "internal")):
        outcome, said = judged(act)
        assert (outcome, "PLAY_TRACKS must be a JSON object" in said) == (Exit.FAILED, True), said
    assert store.edits == {}
