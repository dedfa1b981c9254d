"""The dry run: every script that changes something says what it would do, does nothing, and opens the way for an hour."""

import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import time_machine
from django.test import Client

from hawkops.core import clock
from hawkops.core.access import Role
from hawkops.core.errors import Conflict, InvalidInput
from hawkops.fleet import model as synthetic
from hawkops.fleet.model.signature import Artefact
from hawkops.history.actors import Actor
from hawkops.history.models import Head, HistoryEntry
from hawkops.scripts import selectors, services
from hawkops.scripts.entries import CATALOGUE, script
from hawkops.scripts.models import Run, State
from hawkops.scripts.probes.integrity import sign
from tests.probes.play_standin import serving
from tests.probes.signing import keys
from tests.probes.test_tools import KUBECTL, placed

ME = Actor("person:1", "releaser-1")
CACHE = "scripts/clear-model-cache.sh"
CHANGING = sorted(name for name, entry in CATALOGUE.items() if entry.changes_anything)


def asked(arguments: dict[str, str], *, dry_run: bool = False, environment: str = "demo") -> Run:
    return services.run_request(
        environment=environment, name=CACHE, arguments=arguments, actor=ME, dry_run=dry_run, send=False
    )


def ended(run: Run, state: State = State.PASSED) -> Run:
    taken = services.run_start(run_id=run.pk)
    assert taken is not None
    services.run_finish(run=taken, state=state, exit_code=0, summary="2 files would be moved", results=[])
    return Run.objects.get(pk=run.pk)


@pytest.mark.django_db
def test_real_run__without_a_dry_run__is_refused_and_nothing_queued() -> None:
    seq = Head.objects.get().seq
    with pytest.raises(Conflict, match="needs a dry run with the same arguments"):
        asked({"force": "on"})
    assert not Run.objects.exists()
    assert Head.objects.get().seq == seq


@pytest.mark.django_db
def test_real_run__after_its_dry_run__is_queued_and_names_it() -> None:
    dry = ended(asked({"force": "on"}, dry_run=True))
    real = asked({"force": "on"})
    entry = HistoryEntry.objects.get(verb="run.requested", subject=f"run:{real.pk}")
    assert entry.after["after_dry_run"] == dry.pk
    assert not real.dry_run


@pytest.mark.django_db
@pytest.mark.parametrize("other", ["arguments", "environment", "state", "age", "program"])
def test_real_run__dry_run_of_something_else__does_not_count(other: str) -> None:
    dry = ended(
        asked({} if other == "arguments" else {"force": "on"}, dry_run=True),
        State.FAILED if other == "state" else State.PASSED,
    )
    if other == "program":
        Run.objects.filter(pk=dry.pk).update(program_sha256="0" * 64)
    where = "staging" if other == "environment" else "demo"
    later = clock.now() + timedelta(minutes=61 if other == "age" else 1)
    with time_machine.travel(later, tick=False), pytest.raises(Conflict):
        asked({"force": "on"}, environment=where)


@pytest.mark.django_db
def test_dry_run__of_a_script_that_changes_nothing__is_refused() -> None:
    with pytest.raises(InvalidInput, match="has no dry run"):
        services.run_request(
            environment="demo", name="scripts/test-cpu-performance.sh", arguments={}, actor=ME, dry_run=True
        )


@pytest.mark.django_db
def test_dry_run__is_evidence_of_nothing() -> None:
    ended(asked({}, dry_run=True))
    assert selectors.runs_deciding("demo", CACHE) == []
    assert CACHE not in selectors.runs_latest("demo")


@pytest.mark.django_db
def test_page__dry_run_then_real__by_plain_forms(
    person: Callable[..., object], client_as: Callable[..., Client]
) -> None:
    client = client_as(person("releaser", Role.RELEASER))
    refused = client.post(f"/demo/scripts/{CACHE}", {"force": "on"})
    assert refused.status_code == 422
    assert "needs a dry run" in refused.content.decode()

    client.post(f"/demo/scripts/{CACHE}", {"force": "on", "dry_run": "1"})
    dry = ended(Run.objects.get())
    page = client.get(f"/demo/runs/{dry.pk}").content.decode()
    assert "Run it for real in demo" in page
    assert 'name="force" value="on"' in page
    assert client.post(f"/demo/scripts/{CACHE}", {"force": "on"}).status_code == 303
    assert Run.objects.filter(dry_run=False).count() == 1


# ---- the programs themselves ----


def tree(*roots: Path) -> dict[str, tuple[int, str]]:
    """Everything below some folders: rights and content."""
    found = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = (path.stat().st_mode, content)
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[str]:
    """Where a model can be fetched."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    shutil.copy(synthetic.PATH, folder / "m.litertlm")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/m.litertlm"
    server.shutdown()
    server.server_close()


@pytest.mark.fresh_database
@pytest.mark.parametrize("name", CHANGING)
def test_program__dry_run__passes_and_changes_nothing(name: str, tmp_path: Path, shelf: str) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    data.mkdir(mode=0o755)
    model.mkdir()
    shutil.copy(synthetic.PATH, model / "m.litertlm")
    (model / "m.litertlm.xnnpack_cache").write_bytes(b"cache")
    placed(tmp_path / "bin", "kubectl", KUBECTL)
    bundle = tmp_path / "app.aab"
    bundle.write_bytes(b"PK" + b"\0" * 500)
    entry = script(name)
    needed = {a.name: a.choices[0] if a.choices else "x" for a in entry.arguments if a.required}
    given = {"scripts/clear-model-cache.sh": {"force": "on"}}.get(name, needed)
    released = {"versionCodes": ["41"], "status": "completed"}
    seq = Head.objects.get().seq
    with serving(tmp_path) as (store, url, account):
        store.tracks = {"internal": [released], "production": [released]}
        env = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "STANDIN": str(tmp_path),
            "HAWKOPS_DATA": str(data),
            "LITERT_MODEL": str(model / "m.litertlm"),
            "MODEL_URL": shelf,
            "OUTBOUND_PRIVATE": "1",
            "PLAY_API_URL": url,
            "PLAY_SERVICE_ACCOUNT": str(account),
            "APP_BUNDLE": str(bundle),
        }
        if name == "scripts/redownload-models.sh":  # it replaces by what is proven only, in its dry run too
            private, public = keys(tmp_path, "author")
            sign(Artefact(model / "m.litertlm", tmp_path / "m.sig", public), private)
            env |= {"MODEL_SIGNATURE": str(tmp_path / "m.sig"), "MODEL_SIGNING_PUBLIC_KEY": str(public)}
        before = tree(data, model)
        done = subprocess.run(
            [str(entry.path), *entry.command_arguments(given, dry_run=True)],
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "would" in done.stdout
        assert tree(data, model) == before
        assert store.tracks == {"internal": [released], "production": [released]}
        assert store.uploaded == 0
    assert Head.objects.get().seq == seq
