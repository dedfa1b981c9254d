"""Secrets: none of what a script is handed may be read in what it says, in its results, and in the history."""

from pathlib import Path
from typing import Any

import pytest

from hawkops.fleet.model.signature import Artefact
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.scripts import selectors, services
from hawkops.scripts.checks import encryption
from hawkops.scripts.masking import secrets_of
from hawkops.scripts.models import Run, State
from hawkops.scripts.probes import integrity
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.runner import masked
from hawkops.scripts.tasks import run as task

ME = Actor("person:1", "operator-1")
HEAD = "#!/bin/sh\n# hawkops:\n# title: T\n# means: M\n"
SIGNED = "https://127.0.0.1:1/m.litertlm?X-Amz-Signature=deadbeefcafebabe0123&sig=top%2Fsecret%2Fsig1234"


def shown(env: dict[str, str], text: str) -> str:
    return masked(text, secrets_of(env))


@pytest.mark.parametrize(
    ("env", "said", "kept"),
    [
        ({"SMTP_URL": "smtp://post:pass@mail.example.com"}, "it is pass", "it is •••"),
        ({"SMTP_URL": "smtp://post:abc@mail.example.com"}, "abcd post:abc@mail", "abcd •••mail"),
        ({"SMTP_URL": "smtp://post:a%2Fb%2Fc%2Fd@mail.example.com"}, "a/b/c/d a%2Fb%2Fc%2Fd", "••• •••"),
        ({"MODEL_URL": SIGNED}, f"GET {SIGNED}", "GET https://127.0.0.1:1/m.litertlm?•••"),
        ({"MODEL_URL": SIGNED}, "sig top/secret/sig1234", "sig •••"),
        ({"MODEL_URL": "https://example.com/m?alt=media"}, "media of alt", "media of alt"),
        ({"PLAY_API_URL": "https://ghp_0123456789@example.com/"}, "by ghp_0123456789", "by •••"),
        ({"DATABASE_URL": "postgresql://h:longpassword@db/x?sslmode=verify-full"}, "sslmode=verify-full",
         "sslmode=verify-full"),
        ({"DATABASE_URL": "postgresql://db/x?user=h&password=hunter22"}, "hunter22", "•••"),
        ({"X": "http://[broken?key=12345678"}, "at http://[broken?key=12345678", "at •••"),
    ],
)  # fmt: skip
def test_addresses__their_secret_parts__are_masked(env: dict[str, str], said: str, kept: str) -> None:
    assert shown(env, said) == kept


def test_settings__secrets_of_the_installation__are_masked(settings: Any) -> None:
    settings.CLOUD_AI_URL = "http://cloud:hunter2secretpw@ai.example.com"
    settings.SECURITY_WEBHOOK = "https://hooks.example.com/services/T000/B000/SecretPath"
    settings.METRICS_TOKEN = "tok-1"

    assert shown({}, "hunter2secretpw") == "•••"
    assert shown({}, "POST /services/T000/B000/SecretPath HTTP/1.1 tok-1") == "POST ••• HTTP/1.1 •••"
    assert "" not in secrets_of({})


@pytest.mark.django_db
def test_run__that_says_and_stores_its_addresses__shows_no_secret(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCRIPTS_DIR = str(tmp_path)
    settings.CLOUD_AI_URL = "http://cloud:hunter2secretpw@ai.example.com"
    monkeypatch.setenv("MODEL_URL", SIGNED)
    program = tmp_path / "tell.sh"
    program.write_text(
        f'{HEAD}echo "{{\\"name\\": \\"x\\", \\"note\\": \\"$MODEL_URL\\"}}" > "$HAWKOPS_RESULT"\n'
        'echo "cloud is $CLOUD_AI_URL, model is $MODEL_URL"\n'
    )
    program.chmod(0o755)
    run = services.run_request(environment="demo", name="tell.sh", arguments={}, actor=ME, send=False)
    task(run.pk)

    run = Run.objects.get(pk=run.pk)
    assert run.state == State.PASSED
    said = [line.text for line in selectors.output(run)]
    assert said == ["cloud is http://•••ai.example.com, model is https://127.0.0.1:1/m.litertlm?•••"]
    everything = f"{run.summary} {run.results} {[entry.after_text for entry in HistoryEntry.objects.all()]}"
    assert run.results[0]["note"] == "https://127.0.0.1:1/m.litertlm?•••"
    assert not [secret for secret in ("hunter2secretpw", "deadbeef", "sig1234") if secret in everything]


def test_sentences__of_addresses__name_the_host_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = encryption.web("Cloud AI", "http://cloud:hunter2secretpw@ai.example.com/?key=0123456789")
    assert found.sentence == "http to ai.example.com is not https"

    model = Artefact(tmp_path / "m.litertlm", tmp_path / "m.sig", tmp_path / "m.pem")

    def downloaded(url: str) -> Finding:
        monkeypatch.setenv("MODEL_URL", url)
        (finding,) = integrity.redownload(model)
        return finding

    refused = downloaded(SIGNED)
    assert refused.sentence.startswith("127.0.0.1: ")
    assert "sig" not in refused.sentence.lower()
    assert "MODEL_URL: " in downloaded("https://[broken?sig=0123456789").sentence
