"""The Play track: one short edit for each action, other releases of the track sent back untouched, refusals explained.

Google Play Developer API v3. An edit is a copy of the live state and dies when anything else is committed, so each action
opens one, changes one track, and commits it; what fails gives the edit up.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hawkops.scripts.probes.android import package
from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

API = "https://androidpublisher.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
SECONDS = 60
UPLOAD_SECONDS = 900
WORDS_MOST = 300
TRACK = re.compile(r"[a-z][A-Za-z0-9:._-]{0,63}")
NO_DOWNGRADE = "does not allow any existing users to upgrade"


class Lacking(Exception):
    """Something that Play needs is not set."""


class Refused(Exception):
    """Play said no; the message is its own, with what to do where we know it."""


@dataclass
class Play:
    """One app on Google Play."""

    session: Any
    base: str
    package: str

    @property
    def edits(self) -> str:
        """Where edits of the app are made."""
        return f"{self.base}/androidpublisher/v3/applications/{self.package}/edits"

    def call(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        """Make one call. Raises Refused, or Lacking where the credentials are not accepted."""
        return _answer(self._send(method, url, json=body, timeout=SECONDS))

    def upload(self, edit: str, bundle: Path) -> int:
        """Upload a bundle and return its version code."""
        url = f"{self.base}/upload/androidpublisher/v3/applications/{self.package}/edits/{edit}/bundles"
        with bundle.open("rb") as file:
            answer = self._send(
                "POST",
                url,
                params={"uploadType": "media"},
                data=file,
                headers={"Content-Type": "application/octet-stream"},
                timeout=UPLOAD_SECONDS,
            )
        return int(_answer(answer)["versionCode"])

    def _send(self, method: str, url: str, **options: Any) -> Any:
        """Send a request; whenever it has to sign in anew, that may fail too, and not as a request does."""
        from google.auth.exceptions import GoogleAuthError, RefreshError

        try:
            return self.session.request(method, url, allow_redirects=False, **options)
        except GoogleAuthError as error:
            why = str(error.args[0] if error.args else error)[:WORDS_MOST]
            if isinstance(error, RefreshError) and not error.retryable:
                raise Lacking(f"no credentials that Google accepts: {why}") from error
            raise Refused(f"signing in with Google failed: {why}") from error

    @contextmanager
    def edit(self, *, commit: bool = True) -> Iterator[str]:
        """Open an edit; commit it at the end, give it up when anything fails or nothing is to be changed."""
        edit = str(self.call("POST", self.edits, {})["id"])
        try:
            yield edit
            if commit:
                self.call("POST", f"{self.edits}/{edit}:commit")
        except BaseException:
            with suppress(Exception):
                self.call("DELETE", f"{self.edits}/{edit}")
            raise
        if not commit:
            self.call("DELETE", f"{self.edits}/{edit}")

    def releases(self, edit: str, track: str) -> list[dict[str, Any]]:
        """Return the releases of a track."""
        return list(self.call("GET", f"{self.edits}/{edit}/tracks/{track}").get("releases", []))

    def put(self, edit: str, track: str, releases: list[dict[str, Any]]) -> None:
        """Replace the releases of a track: whatever is not sent is gone."""
        self.call("PUT", f"{self.edits}/{edit}/tracks/{track}", {"track": track, "releases": releases})


def _answer(answer: Any) -> dict[str, Any]:
    if answer.status_code in (200, 204):
        return dict(answer.json()) if answer.content else {}
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"answered {answer.status_code} {answer.text[:200]}"
    raise Refused(message)


def connect() -> Play:
    """Sign in with the service account that PLAY_SERVICE_ACCOUNT names. Raises Lacking."""
    path = os.environ.get("PLAY_SERVICE_ACCOUNT", "")
    if not path:
        raise Lacking("no credentials: PLAY_SERVICE_ACCOUNT names no service account file")
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account

    try:
        account = service_account.Credentials.from_service_account_file(path, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise Lacking(f"the service account file {path} can't be used: {error}") from error
    return Play(AuthorizedSession(account), os.environ.get("PLAY_API_URL") or API, package())  # type: ignore[no-untyped-call]


def deploy(track: str, *, dry_run: bool = False) -> Iterator[Finding]:
    """Upload the bundle that APP_BUNDLE names and release it on a track; the track's other releases stay as they are.

    A dry run signs in, reads the track in an edit that is given up, and uploads nothing.
    """
    title = f"Play track {track}"
    try:
        bundle = _bundle()
        play = connect()
        name = _track(track)
        if dry_run:
            yield passed(title, _deploy_rehearsed(play, name, bundle))
            return
        with play.edit() as edit:
            code = play.upload(edit, bundle)
            others = [release for release in play.releases(edit, name) if _staged_or_code(release, code)]
            play.put(edit, name, [_release(code), *others])
    except Lacking as lack:
        yield unmeasured(title, str(lack))
        return
    except (Refused, OSError, ValueError) as error:
        yield failed(title, _explained(error))
        return
    yield passed(
        title,
        f"version code {code} of {play.package} is released; {len(others)} other releases kept",
        value=float(code),
    )


def _deploy_rehearsed(play: Play, track: str, bundle: Path) -> str:
    with play.edit(commit=False) as edit:
        before = play.releases(edit, track)
    replaced = _codes(before, "completed")
    kept = sum(release["status"] != "completed" for release in before)
    return (
        f"would upload {bundle.name} ({bundle.stat().st_size / 1e6:.1f} MB) of {play.package} and release it in place of"
        f" {', '.join(replaced) or 'nothing'}; {kept} other releases would be kept"
    )


def rollback(version: str, track: str, *, dry_run: bool = False) -> Iterator[Finding]:
    """Halt what rolls out on a track; with a version code, release that one again if Play allows it.

    Play never downgrades an installed app: devices keep the build they have, and the previous one reaches new installs only.
    """
    title = f"Play track {track}"
    try:
        play = connect()
        name = _track(track)
        with play.edit(commit=not dry_run) as edit:
            before = play.releases(edit, name)
            after = _halted(before)
            if version != "previous":
                after = _again(before, version)
            if after == before:
                raise Refused(_nothing_to_halt(before, name))
            if not dry_run:
                play.put(edit, name, after)
    except Lacking as lack:
        yield unmeasured(title, str(lack))
        return
    except (Refused, OSError, ValueError) as error:
        yield failed(title, _explained(error))
        return
    halted, serving = _codes(after, "halted"), _codes(after, "completed")
    said = f"halted: {', '.join(halted) or 'none'}; new installs get {', '.join(serving) or 'the previous release'}"
    yield passed(title, f"would then be {said}" if dry_run else said)
    yield passed("Installed devices", "keep the build they have, Play never downgrades; the kill switch stops LiteRT")


def _halted(releases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Halt what is rolling out; where nothing is, the newest completed release."""
    if any(release["status"] == "inProgress" for release in releases):
        return [{**r, "status": "halted"} if r["status"] == "inProgress" else r for r in releases]
    done = [release for release in releases if release["status"] == "completed"]
    newest = max(done, key=_highest, default=None)
    return [{**r, "status": "halted"} if r is newest else r for r in releases]


def _again(releases: list[dict[str, Any]], version: str) -> list[dict[str, Any]]:
    if not version.isdigit():
        raise Refused(f"{version!r} is no version code; write --version=previous or its number")
    halted = [{**r, "status": "halted"} if r["status"] == "inProgress" else r for r in releases]
    return [_release(int(version)), *(release for release in halted if version not in release.get("versionCodes", []))]


def _codes(releases: list[dict[str, Any]], status: str) -> list[str]:
    """Return the version codes of the releases in a state; a draft may have none yet."""
    return [code for release in releases if release["status"] == status for code in release.get("versionCodes", [])]


def _highest(release: dict[str, Any]) -> int:
    return max((int(code) for code in release.get("versionCodes", [])), default=0)


def _staged_or_code(release: dict[str, Any], code: int) -> bool:
    """Keep drafts, halted and staged releases; a completed one is what the new release replaces."""
    return release["status"] != "completed" and str(code) not in release.get("versionCodes", [])


def _release(code: int) -> dict[str, Any]:
    return {"versionCodes": [str(code)], "status": "completed"}


def _nothing_to_halt(releases: list[dict[str, Any]], track: str) -> str:
    return f"nothing rolls out on {track}" if not releases else f"everything on {track} is halted or a draft already"


def _bundle() -> Path:
    path = Path(os.environ.get("APP_BUNDLE", ""))
    if not os.environ.get("APP_BUNDLE"):
        raise Lacking("no app bundle: APP_BUNDLE names no .aab file")
    if not path.is_file():
        raise Lacking(f"the app bundle {path} is missing")
    return path


def _track(track: str) -> str:
    """Return Play's own id of a track; PLAY_TRACKS renames, as in {"internal": "qa"}."""
    if not TRACK.fullmatch(track):
        raise ValueError(f"{track!r} is no track; internal, alpha, beta or production")
    form = 'PLAY_TRACKS must be a JSON object from track to Play\'s own id, as in {"internal": "qa"}'
    try:
        renamed = json.loads(os.environ.get("PLAY_TRACKS") or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(form) from error
    if not isinstance(renamed, dict):
        raise ValueError(form)
    name = renamed.get(track, track)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{form}; it gives {track} the id {name!r}")
    return name


def _explained(error: Exception) -> str:
    words = str(error)
    if NO_DOWNGRADE in words:
        words += " Play releases no lower version code: build the old code with a higher one."
    return words
