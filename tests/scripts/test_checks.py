"""Checks of the installation: each has its pass, its fail, and its cannot-say."""

import argparse
import base64
import hashlib
import http.server
import json
import os
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hawkops.accounts.models import DeviceKey, RoleGrant, User
from hawkops.accounts.services.people import roles_set
from hawkops.accounts.services.signing import sign_in_record
from hawkops.core import clock, outbound
from hawkops.core.access import Role
from hawkops.core.errors import InvalidInput
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change, heartbeat_record
from hawkops.scripts.checks import archive, audit, compliance, encryption, evidence, notifying, security
from hawkops.scripts.checks.registry import CHECKS
from hawkops.scripts.probes import findings
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit
from monitoring.models import LogLine

NOTHING = argparse.Namespace()


def judged(found: list[Finding]) -> Exit:
    return findings.together(finding.outcome for finding in found)


def titled(found: list[Finding]) -> dict[str, Finding]:
    return {finding.title: finding for finding in found}


@pytest.fixture
def data(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    settings.DATA = folder
    monkeypatch.setenv("HAWKOPS_DATA", str(folder))
    for name in ("MODEL_SIGNATURE", "MODEL_SIGNING_PUBLIC_KEY", "LITERT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    return folder


# ---- encryption ----


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("http://localhost:8000", Exit.PASSED),
        ("http://127.0.0.1:4318", Exit.PASSED),
        ("http://console.example.com", Exit.FAILED),
        ("", Exit.UNMEASURED),
        ("https://127.0.0.1:1", Exit.FAILED),
    ],
)
def test_web__plain_text_may_not_leave_the_machine(url: str, outcome: Exit) -> None:
    assert encryption.web("x", url).outcome is outcome


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("unix:///run/valkey.sock", Exit.PASSED),
        ("redis://127.0.0.1/0", Exit.PASSED),
        ("rediss://127.0.0.1:1/0", Exit.FAILED),
        ("redis://cache.example.com/0", Exit.FAILED),
    ],
)
def test_broker__plain_text_may_not_leave_the_machine(url: str, outcome: Exit) -> None:
    assert encryption.broker("x", url).outcome is outcome


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server on this machine that speaks TLS: its port, and the certificate that proves it to whoever trusts it."""
    key, at = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    proof, private = tmp_path / "server.pem", tmp_path / "server.key"
    proof.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(proof, private)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listening.accept()
                with suppress(OSError), context.wrap_socket(line, server_side=True) as wrapped:
                    wrapped.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1], proof
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.mark.parametrize(
    ("query", "outcome", "words"),
    [
        ("?ssl_ca_certs={proof}", Exit.PASSED, "TLSv1.3, certificate of localhost for 89 more days"),
        ("", Exit.FAILED, "self-signed certificate"),
        ("?ssl_cert_reqs=none&ssl_ca_certs={proof}", Exit.FAILED, "whose certificate nobody verifies"),
        ("?ssl_cert_reqs=CERT_NONE", Exit.FAILED, "whose certificate nobody verifies"),
        ("?ssl_check_hostname=false&ssl_ca_certs={proof}", Exit.FAILED, "whose name nobody compares"),
        ("?ssl_ca_certs=/no/such/file.pem", Exit.FAILED, "No such file"),
    ],
)
def test_broker__tls__is_connected_and_its_proof_is_looked_at(
    tls: tuple[int, Path], query: str, outcome: Exit, words: str
) -> None:
    port, proof = tls
    found = encryption.broker("x", f"rediss://:secret@localhost:{port}/0{query.format(proof=proof)}")

    assert (found.outcome, words in found.sentence) == (outcome, True), found.sentence


def test_secrets__that_others_may_read__fail(data: Path) -> None:
    assert judged(list(encryption.secrets_at_rest(data))) is Exit.UNMEASURED
    (data / "secret.key").write_text("x")
    (data / "secret.key").chmod(0o600)
    assert judged(list(encryption.secrets_at_rest(data))) is Exit.PASSED
    (data / "secret.key").chmod(0o640)
    (found,) = encryption.secrets_at_rest(data)
    assert (found.outcome, "secret.key" in found.sentence) == (Exit.FAILED, True)


@pytest.mark.parametrize("key", ["short", "x" * 60, "django-insecure-" + "abcdefghijkl" * 4])
def test_secret_key__guessable__fails(key: str) -> None:
    assert encryption.secret_key(key).outcome is Exit.FAILED


@pytest.mark.django_db
def test_keys_and_passwords__stored_weakly__fail(person: Any) -> None:
    someone = person("someone", Role.VIEWER)
    assert encryption.device_keys().outcome is Exit.UNMEASURED
    assert encryption.passwords().outcome is None, "out of scope: there is none"
    DeviceKey.objects.create(
        environment="demo", name="y", prefix="hk", key_hash="0123456789abcdef" * 4, created_at=clock.now()
    )
    assert encryption.device_keys().sentence == "1 stored as SHA-256 only"
    DeviceKey.objects.create(
        environment="demo", name="x", prefix="hk", key_hash="hk_demo_plain", created_at=clock.now()
    )
    assert encryption.device_keys().outcome is Exit.FAILED
    someone.set_password("correct horse battery")
    someone.save()
    assert encryption.passwords().outcome is Exit.PASSED
    User.objects.filter(pk=someone.pk).update(password="pbkdf2_sha256$1$a$b")
    assert "someone" in encryption.passwords().sentence


def test_disk__only_by_the_operators_word_or_the_kernels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISK_ENCRYPTION", "LUKS on the host")
    assert encryption.disk().outcome is Exit.PASSED
    monkeypatch.delenv("DISK_ENCRYPTION")
    assert encryption.disk().outcome is not Exit.FAILED


# ---- the audit trail ----


@pytest.mark.fresh_database
def test_audit__silence_is_found_and_only_within_the_window() -> None:
    start = clock.now()
    for minutes in (0, 0.5, 3, 3.5):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=False):
            heartbeat_record()

    with time_machine.travel(start + timedelta(minutes=4), tick=False):
        found = audit.silences(last_day=True)
        assert (found.outcome, found.value) == (Exit.FAILED, 150.0)
    later = start + timedelta(days=2)
    for seconds in range(0, 121, 30):
        with time_machine.travel(later + timedelta(seconds=seconds), tick=False):
            heartbeat_record()
    # the window begins between the last two: the silence of two days lies before it
    with time_machine.travel(later + timedelta(hours=24, seconds=100), tick=False):
        found = audit.silences(last_day=True)
        assert "1 gaps above" not in found.sentence
        assert found.value == pytest.approx(24 * 3600 - 20)
        heartbeat_record()
        assert "1 gaps above 60 s in the last 24 hours" in audit.silences(last_day=True).sentence
    with time_machine.travel(later + timedelta(seconds=125), tick=False):
        assert audit.silences(last_day=False).value == pytest.approx(2 * 24 * 3600 - 210)


def beats(since: datetime, *, minutes: float) -> datetime:
    """Let the history's heart beat every 30 seconds, and return when it stopped."""
    for beat in range(int(minutes * 2)):
        with time_machine.travel(since + timedelta(seconds=30 * beat), tick=False):
            heartbeat_record()
    return since + timedelta(seconds=30 * (int(minutes * 2) - 1))


@pytest.mark.fresh_database
def test_audit__silence_across_the_edge_of_the_window__counts_from_the_edge() -> None:
    now = clock.now()
    beats(now - timedelta(hours=30), minutes=2)
    beats(now - timedelta(minutes=1), minutes=1.5)

    with time_machine.travel(now, tick=False):
        found = audit.silences(last_day=True)
    assert found.outcome is Exit.FAILED
    assert found.value == pytest.approx(24 * 3600 - 60)
    assert "longest 86340 s" in found.sentence


@pytest.mark.fresh_database
def test_audit__heart_stopped_and_only_the_question_itself_is_on_record__fails() -> None:
    """Asking for the run writes an entry, and so does the check: neither hides the silence before it."""
    now = clock.now()
    stopped = beats(now - timedelta(minutes=10), minutes=2)
    with time_machine.travel(now, tick=False):
        with change(actor=Actor.rule("somebody"), environment="demo") as this:
            this.record("run.requested", subject="run:1")
        found = titled(list(audit.audit_trails(argparse.Namespace(last_day=True))))["Silence"]

    seconds = (now - stopped).total_seconds()
    assert (found.outcome, found.value) == (Exit.FAILED, seconds)
    assert f"no heartbeat for {seconds:.0f} s; is beat running?" in found.sentence


@pytest.mark.fresh_database
def test_audit__nothing_but_changes_a_minute_old__is_still_silence() -> None:
    now = clock.now()
    beats(now - timedelta(minutes=5), minutes=8)
    with time_machine.travel(now + timedelta(minutes=4, seconds=30), tick=False):
        found = audit.silences(last_day=True)
        assert "nothing was written for 120 s" in found.sentence
        found = titled(list(audit.audit_trails(argparse.Namespace(last_day=True))))["Silence"]

    assert (found.outcome, found.value) == (Exit.FAILED, 120.0)


@pytest.mark.fresh_database
def test_audit__beating_all_the_time__has_no_silence() -> None:
    now = clock.now()
    beats(now - timedelta(minutes=5), minutes=5.5)
    with time_machine.travel(now, tick=False):
        found = audit.silences(last_day=True)

    assert (found.outcome, found.value) == (Exit.PASSED, 30.0)


@pytest.mark.fresh_database
def test_audit__untouched__holds_and_one_test_entry_is_found_again() -> None:
    found = titled(list(audit.audit_trails(argparse.Namespace(last_day=True))))

    assert found["Chain"].outcome is Exit.PASSED
    assert found["Rights"].outcome is Exit.PASSED
    assert found["Refusal"].outcome is Exit.PASSED
    assert HistoryEntry.objects.filter(verb="history.tested").count() == 1


@pytest.mark.fresh_database
def test_audit__trigger_switched_off_by_the_owner__fails() -> None:
    import psycopg

    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("ALTER TABLE history_historyentry DISABLE TRIGGER history_no_update_delete")
        try:
            assert "history_no_update_delete" in audit.trigger().sentence
        finally:
            owner.execute("ALTER TABLE history_historyentry ENABLE TRIGGER history_no_update_delete")


# ---- the security stack ----


@pytest.mark.django_db
def test_stack__applied__then_everything_that_drifts_is_named(data: Path, settings: Any) -> None:
    assert judged(list(security.configuration_validate(NOTHING))) is Exit.UNMEASURED
    assert judged(list(security.stack_deploy(NOTHING))) is Exit.PASSED
    assert judged(list(security.configuration_validate(NOTHING))) is Exit.PASSED
    assert (data / "signing/model.pem").stat().st_mode & 0o077 == 0

    settings.X_FRAME_OPTIONS = "ALLOWALL"
    (data / "signing/evidence.pub.pem").write_text("another key")
    found = titled(list(security.configuration_validate(NOTHING)))
    assert {title for title, one in found.items() if one.outcome is Exit.FAILED} == {
        "As applied: X_FRAME_OPTIONS",
        "As applied: keys",
    }


@pytest.mark.django_db
def test_stack__again__changes_nothing_and_records_nothing(data: Path) -> None:
    list(security.stack_deploy(NOTHING))
    keys = (data / "signing/model.pem").read_bytes()
    entries = HistoryEntry.objects.count()

    assert judged(list(security.stack_deploy(NOTHING))) is Exit.PASSED
    assert (data / "signing/model.pem").read_bytes() == keys
    assert HistoryEntry.objects.count() == entries


@pytest.mark.django_db
def test_stack__model_that_was_tampered_with__is_never_signed_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.litertlm"
    model.write_bytes(b"LITERTLM as its author made it")
    monkeypatch.setenv("LITERT_MODEL", str(model))
    list(security.stack_deploy(NOTHING))
    model.write_bytes(b"LITERTLM as somebody else made it")

    assert judged(list(security.stack_deploy(NOTHING))) is Exit.FAILED
    assert judged(list(security.configuration_validate(NOTHING))) is Exit.FAILED


# ---- compliance ----


@pytest.mark.django_db
def test_compliance__every_control_has_evidence_that_exists_or_says_what_is_outside() -> None:
    import yaml

    controls = yaml.safe_load(compliance.CONTROLS.read_text())

    for control in (one for standard in controls.values() for one in standard):
        assert ("outside" in control) != ("evidence" in control), control
        assert set(control.get("evidence", [])) <= set(compliance.facts())


@pytest.mark.django_db
def test_compliance__evidence_against__fails_its_controls(data: Path, person: Any) -> None:
    gone = person("gone", Role.ADMIN)
    User.objects.filter(pk=gone.pk).update(is_active=False)

    found = titled(list(compliance.compliance(argparse.Namespace(standard=["SOC2"]))))

    assert "1 inactive people still hold roles" in found["SOC2 CC6.3 Access is changed and removed"].sentence
    assert found["SOC2 CC7.1 Changes of configuration are detected"].outcome is Exit.UNMEASURED


@pytest.mark.django_db
def test_compliance__grant_that_nobody_recorded__fails() -> None:
    silent = User.objects.create(username="silent")
    RoleGrant.objects.create(user=silent, role=Role.ADMIN.value, environment="")

    assert compliance.grants_recorded().outcome is Exit.FAILED


@pytest.mark.django_db
def test_compliance__sign_in_of_somebody_with_a_silent_grant__is_no_record_of_it(person: Any) -> None:
    someone = person("someone", Role.VIEWER)
    assert compliance.grants_recorded().outcome is Exit.PASSED
    sign_in_record(user=someone)
    RoleGrant.objects.create(user=someone, role=Role.ADMIN.value, environment="production")

    found = compliance.grants_recorded()
    assert found.outcome is Exit.FAILED
    assert f"person:{someone.pk} in production, say, holds admin and was given none" in found.sentence


@pytest.mark.django_db
def test_compliance__grants_changed_by_the_service__are_recorded_and_a_silent_removal_is_found(person: Any) -> None:
    admin, someone = person("admin", Role.ADMIN), person("someone", Role.VIEWER, environment="demo")
    actor = Actor.person(admin)
    roles_set(user=someone, roles=[Role.OPERATOR, Role.VIEWER], environment="demo", actor=actor)
    roles_set(user=someone, roles=[Role.AUDITOR], environment="", actor=actor)
    roles_set(user=someone, roles=[Role.OPERATOR], environment="demo", actor=actor)
    assert compliance.grants_recorded().sentence == "the roles of 2 people are those in the history"

    RoleGrant.objects.filter(user=someone, role=Role.AUDITOR.value).delete()
    assert "in all, say, holds none and was given auditor" in compliance.grants_recorded().sentence


@pytest.mark.django_db
def test_compliance__people_without_a_role_and_superusers__are_against(person: Any) -> None:
    assert compliance.roles_granted().outcome is Exit.UNMEASURED
    person("someone", Role.VIEWER)
    assert compliance.roles_granted().sentence == "1 grants to 1 people"
    User.objects.create(username="nobody")
    User.objects.create(username="root", is_superuser=True)
    User.objects.create(username="gone", is_superuser=True, is_active=False)

    found = compliance.roles_granted()
    assert (found.outcome, found.sentence) == (
        Exit.FAILED,
        "1 people carry Django's staff or superuser flag, which no role grants, 2 of 3 people who may enter hold no role",
    )


@pytest.mark.django_db
def test_compliance__nothing_to_look_at__is_no_pass() -> None:
    looks = (
        compliance.roles_granted, compliance.grants_recorded, compliance.inactive_have_no_access,
        encryption.device_keys,
    )  # fmt: skip

    assert {look().outcome for look in looks} == {Exit.UNMEASURED}


@pytest.mark.django_db
def test_compliance__text_that_devices_wrote__leaves_minimisation_open(data: Path) -> None:
    assert compliance.telemetry_closed_list().outcome is Exit.PASSED
    now = clock.now()
    LogLine.objects.create(
        environment="demo", at=now, received_at=now, severity=9, device_id="d-1", exception_message="Ada Lovelace"
    )
    found = titled(list(compliance.compliance(argparse.Namespace(standard=["GDPR"]))))

    for title in ("GDPR Art. 5(1)(c) Data minimisation", "GDPR Art. 25 Protection by design and by default"):
        assert found[title].outcome is Exit.UNMEASURED
        assert "free text is kept from log lines (body, exception_message)" in found[title].sentence


@pytest.mark.django_db
def test_compliance__unknown_standard__is_refused() -> None:
    with pytest.raises(InvalidInput, match="ISO9000"):
        list(compliance.compliance(argparse.Namespace(standard=["ISO9000"])))


# ---- evidence ----


@pytest.mark.django_db
def test_evidence__archive_is_complete_hashed_and_signed(data: Path) -> None:
    list(security.stack_deploy(NOTHING))
    with change(actor=Actor.rule("test"), environment="demo") as this:
        this.record("flag.killed", subject="flag:litert_enabled")

    found = list(evidence.evidence_collect(argparse.Namespace(incident="INC-7")))

    assert judged(found) is Exit.PASSED
    (path,) = (data / "evidence").glob("INC-7-*.tar.gz")
    with tarfile.open(path) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"].keys() | {"manifest.json", "manifest.sig", "evidence.pub.pem"} == files.keys()
    for name, about in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == about["sha256"]
    assert b"flag.killed" in files["history.jsonl"]
    public = serialization.load_pem_public_key((data / "signing/evidence.pub.pem").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(base64.b64decode(files["manifest.sig"]), files["manifest.json"], ec.ECDSA(hashes.SHA256()))
    assert HistoryEntry.objects.filter(verb="evidence.collected", subject="incident:INC-7").count() == 1


@pytest.mark.django_db
def test_evidence__no_key__is_a_lack_and_a_bad_id_refused(data: Path) -> None:
    assert judged(list(evidence.evidence_collect(argparse.Namespace(incident="INC-7")))) is Exit.UNMEASURED
    with pytest.raises(InvalidInput, match="no incident id"):
        list(evidence.evidence_collect(argparse.Namespace(incident="../../etc")))


@pytest.mark.fresh_database
def test_evidence__chain_is_broken__is_collected_all_the_same_and_fails(data: Path) -> None:
    import psycopg

    list(security.stack_deploy(NOTHING))
    with change(actor=Actor.rule("test"), environment="demo") as this:
        this.record("flag.killed", subject="flag:litert_enabled")
    seq = this.entries[0].seq
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("ALTER TABLE history_historyentry DISABLE TRIGGER history_no_update_delete")
        owner.execute("UPDATE history_historyentry SET reason = 'x' WHERE seq = %s", [seq])
        owner.execute("ALTER TABLE history_historyentry ENABLE TRIGGER history_no_update_delete")

    found = titled(list(evidence.evidence_collect(argparse.Namespace(incident="INC-7"))))
    assert (found["History"].outcome, found["Archive"].outcome) == (Exit.FAILED, Exit.PASSED)
    assert f"entry {seq} was altered" in found["History"].sentence
    (path,) = (data / "evidence").glob("INC-7-*.tar.gz")
    again = titled(list(archive.verify(path, public_key=(data / "signing/evidence.pub.pem").read_bytes())))
    assert (again["Signature"].outcome, again["Files"].outcome) == (Exit.PASSED, Exit.PASSED)
    assert f"entry {seq} was altered" in again["History"].sentence


# ---- telling the security team ----


class Hook(http.server.BaseHTTPRequestHandler):
    """A chat's webhook that keeps what it was sent."""

    status = 200
    sent: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[tuple[type[Hook], str]]:
    kind = type("Hook", (Hook,), {"sent": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kind, f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()


TOLD = argparse.Namespace(severity="high", kind="litert_incident <!channel>")


@pytest.mark.django_db
def test_notify__each_channel_gives_a_receipt(
    hook: tuple[type[Hook], str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, url = hook
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    inbox: list[str] = []

    class Inbox:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            inbox.append(envelope.content.decode())
            return "250 taken"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mail = Controller(Inbox(), hostname="127.0.0.1", port=port)
    mail.start()
    try:
        settings.SECURITY_WEBHOOK, settings.SECURITY_EMAIL = url, "security@example.com"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        found = titled(list(notifying.security_team_notify(TOLD)))
    finally:
        mail.stop()

    assert {title: one.outcome for title, one in found.items()} == {"Webhook": Exit.PASSED, "E-mail": Exit.PASSED}
    assert "&lt;!channel&gt;" in kind.sent[0]["text"]
    assert "[HIGH] litert_incident" in inbox[0]
    entry = HistoryEntry.objects.get(verb="security.team_notified")
    assert entry.after["receipts"]["Webhook"].startswith("answered 200")


@pytest.mark.django_db
def test_notify__refused__is_a_failure_and_recorded_as_unreached(
    hook: tuple[type[Hook], str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, url = hook
    kind.status = 404
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    settings.SECURITY_WEBHOOK = url

    assert judged(list(notifying.security_team_notify(TOLD))) is Exit.FAILED
    assert HistoryEntry.objects.filter(verb="security.team_unreached").count() == 1


@pytest.mark.django_db
def test_notify__no_channel__is_a_lack_and_recorded_nowhere() -> None:
    assert judged(list(notifying.security_team_notify(TOLD))) is Exit.UNMEASURED
    assert not HistoryEntry.objects.filter(subject="team:security").exists()


# ---- calls out of the house ----


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "https://",
        "http://example.com/hook",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
    ],
)
def test_outbound__address_that_may_not_be_called__is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTBOUND_PRIVATE", raising=False)

    with pytest.raises(InvalidInput):
        outbound.post(url, json={})


def test_outbound__redirect__is_not_followed(hook: tuple[type[Hook], str], monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = hook
    kind.status = 307
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")

    receipt = outbound.post(url, json={"a": 1})

    assert (receipt.status, receipt.accepted, len(kind.sent)) == (307, False, 1)


def test_outbound__nobody_there__says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")

    with pytest.raises(outbound.Undelivered, match=r"127\.0\.0\.1"):
        outbound.post("http://127.0.0.1:1/", json={})


def test_registry__every_probe_is_called_by_a_script() -> None:
    root = Path(security.__file__).parents[1] / "bin"
    called = "\n".join(path.read_text() for path in root.rglob("*.sh"))

    for name in CHECKS:
        assert f'installation.sh" {name} ' in called, name
