"""Encryption as it really is: every connection, every stored secret, every key. What can't be known is said, not assumed."""

import argparse
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.db import connection

from hawkops.accounts.models import DeviceKey, User
from hawkops.fleet.model.signature import artefact
from hawkops.scripts.probes.android import AdbFailed, NoDevice, device
from hawkops.scripts.probes.findings import Finding, failed, not_judged, passed, unmeasured
from hawkops.scripts.probes.integrity import signature_finding

SECRET_CHARACTERS_LEAST = 40
CERTIFICATE_DAYS_LEAST = 14
CONNECT_SECONDS = 10
REDIS_PORT = 6379
# a client that verifies only what is shown verifies all the same: a server always shows its certificate
VERIFYING = ("required", "optional")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
STAYS = "nothing leaves this machine"
SECRETS = ("secret.key", "env", "device.key", "postgres.passwords", "signing/model.pem", "signing/evidence.pem")


def options(parser: argparse.ArgumentParser) -> None:
    """Add the runbook's switch."""
    parser.add_argument("--check-all-components", action="store_true", help="disks and devices too")


def encryption(given: argparse.Namespace) -> Iterator[Finding]:
    """Look at connections, stored secrets and keys; with all components at disks, models and devices too."""
    for title, url in (
        ("Console", settings.CONSOLE_URL),
        ("Gateway", settings.GATEWAY_URL),
        ("Cloud AI", settings.CLOUD_AI_URL),
    ):
        yield web(f"TLS: {title}", url)
    yield database()
    yield broker("Encryption: Valkey", settings.REDIS_URL)
    yield from secrets_at_rest(settings.DATA)
    yield secret_key(settings.SECRET_KEY)
    yield device_keys()
    yield passwords()
    if given.check_all_components:
        yield signature_finding(artefact())
        yield disk()
        yield phone()


def web(title: str, url: str) -> Finding:
    """Judge one address: https with a certificate that will last, or plain http that never leaves this machine."""
    if not url:
        return unmeasured(title, "no address is set")
    split = urlsplit(url)
    host = split.hostname or ""
    if split.scheme != "https":
        if host in LOOPBACK:
            return passed(title, f"http on {host}: {STAYS}")
        return failed(title, f"{split.scheme} to {host} is not https")
    return secured(title, host, split.port or 443)


def secured(title: str, host: str, port: int, *, authorities: str | None = None) -> Finding:
    """Connect over TLS and judge what the other side shows: a certificate of its name that will last."""
    try:
        context = ssl.create_default_context(cafile=authorities)
        with (
            socket.create_connection((host, port), timeout=CONNECT_SECONDS) as line,
            context.wrap_socket(line, server_hostname=host) as wrapped,
        ):
            version, certificate = wrapped.version(), wrapped.getpeercert() or {}
    except (OSError, ssl.SSLError) as error:
        return failed(title, f"{host}: {getattr(error, 'verify_message', '') or error}")
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), tz=UTC)
    days = (until - datetime.now(UTC)).days
    judged = passed if days >= CERTIFICATE_DAYS_LEAST else failed
    return judged(title, f"{version}, certificate of {host} for {days} more days")


def database() -> Finding:
    """Judge the connection to PostgreSQL that the application itself uses."""
    title = "Encryption: PostgreSQL"
    host = str(connection.settings_dict["HOST"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        row = cursor.fetchone()
    if row and row[0]:
        return passed(title, f"{row[1]}, {row[2]}")
    if host.startswith("/") or host in ("", *LOOPBACK):
        return passed(title, f"{'unix socket' if host.startswith('/') or not host else host}: {STAYS}")
    return failed(title, f"plain text to {host}; add sslmode=verify-full to DATABASE_URL")


def broker(title: str, url: str) -> Finding:
    """Judge the connection to Redis or Valkey: asked over TLS, with the certificate's proof as set."""
    split = urlsplit(url)
    if split.scheme in ("unix", "redis+socket"):
        return passed(title, f"unix socket: {STAYS}")
    if split.scheme == "rediss":
        asked = {name: values[-1] for name, values in parse_qs(split.query).items()}
        mode = asked.get("ssl_cert_reqs", "required")
        if mode.lower().removeprefix("cert_") not in VERIFYING:
            return failed(title, f"TLS to {split.hostname}, whose certificate nobody verifies (ssl_cert_reqs={mode})")
        if asked.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
            return failed(title, f"TLS to {split.hostname}, whose name nobody compares (ssl_check_hostname)")
        return secured(title, split.hostname or "", split.port or REDIS_PORT, authorities=asked.get("ssl_ca_certs"))
    if split.hostname in LOOPBACK:
        return passed(title, f"{split.hostname}: {STAYS}")
    return failed(title, f"plain text to {split.hostname}; use rediss://")


def secrets_at_rest(data: Path) -> Iterator[Finding]:
    """Judge who may read the files that hold secrets."""
    found = [data / name for name in SECRETS if (data / name).exists()]
    open_ones = [path for path in found if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if open_ones:
        names = ", ".join(path.name for path in open_ones)
        yield failed("Stored secrets", f"others may read {names}; chmod 600")
    elif found:
        yield passed("Stored secrets", f"{len(found)} files, only their owner may read them")
    else:
        yield unmeasured("Stored secrets", f"no secret is stored under {data}; they come from the environment")


def secret_key(key: str) -> Finding:
    """Judge the key that signs sessions."""
    if len(key) < SECRET_CHARACTERS_LEAST or len(set(key)) < 10 or key.startswith("django-insecure"):
        return failed("Signing key", f"SECRET_KEY needs {SECRET_CHARACTERS_LEAST} random characters")
    return passed("Signing key", f"{len(key)} characters")


def device_keys() -> Finding:
    """Judge how device keys are stored."""
    hashes = list(DeviceKey.objects.values_list("key_hash", flat=True))
    plain = sum(len(h) != 64 or any(c not in "0123456789abcdef" for c in h) for h in hashes)
    if plain:
        return failed("Device keys", f"{plain} of {len(hashes)} are not stored as a SHA-256")
    if not hashes:
        return unmeasured("Device keys", "no device has a key, so there is nothing to look at")
    return passed("Device keys", f"{len(hashes)} stored as SHA-256 only")


def passwords() -> Finding:
    """Judge how passwords are stored."""
    having = [user for user in User.objects.filter(is_active=True) if user.has_usable_password()]
    weak = [user.username for user in having if identify_hasher(user.password).algorithm not in ("argon2",)]
    if not having:
        return not_judged("Passwords", "nobody has set one, so none can be stored badly")
    if weak:
        return failed("Passwords", f"not hashed with Argon2: {', '.join(weak[:5])}; they are at the next sign-in")
    return passed("Passwords", f"{len(having)}, all hashed with Argon2")


def disk() -> Finding:
    """Say whether the disk below the data folder is encrypted, as far as this machine shows it."""
    title = "Disk"
    said = os.environ.get("DISK_ENCRYPTION", "").strip()
    if said:
        return passed(title, f"{said[:80]}, by the operator's word (DISK_ENCRYPTION)")
    name = _block_device(settings.DATA)
    if name and Path(f"/sys/class/block/{name}/dm/uuid").exists():
        if Path(f"/sys/class/block/{name}/dm/uuid").read_text().startswith("CRYPT-"):
            return passed(title, f"{name} is encrypted by dm-crypt")
        return unmeasured(title, f"{name} is a device mapper volume without dm-crypt of its own")
    return unmeasured(title, "this machine does not show whether its disk is encrypted; set DISK_ENCRYPTION to say how")


def _block_device(path: Path) -> str:
    number = path.stat().st_dev
    link = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return link.resolve().name if link.exists() else ""


def phone() -> Finding:
    """Say whether the attached device encrypts its storage."""
    title = "Storage of the device"
    try:
        state = device().property("ro.crypto.state")
    except (NoDevice, AdbFailed) as lack:
        return unmeasured(title, str(lack))
    return (passed if state == "encrypted" else failed)(title, f"ro.crypto.state is {state or 'not set'}")
