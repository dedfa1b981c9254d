"""Checks around the model: signatures over real files, broken models in real LiteRT, a device behind a stand-in `adb`."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hawkops.fleet import model as synthetic
from hawkops.fleet.cloud import CloudStandIn
from hawkops.fleet.model.signature import Artefact
from hawkops.scripts import runner
from hawkops.scripts.probes import android, core_ai, device_state, findings, integrity, memory_watch
from hawkops.scripts.probes.findings import Finding
from hawkops.scripts.probes.measuring import Exit, Subject
from tests.fleet.standin import serving
from tests.probes.signing import keys
from tests.probes.test_scripts import BIN, typed

MEGABYTE = 1_000_000.0


@pytest.fixture
def signed(tmp_path: Path) -> Artefact:
    """A folder with the generated model, signed."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(synthetic.PATH, folder / "m.litertlm")
    private, public = keys(tmp_path, "author")
    what = Artefact(folder, tmp_path / "model.sig", public)
    integrity.sign(what, private)
    return what


# ---- signatures ----


def test_signature__untouched__is_verified(signed: Artefact) -> None:
    found = integrity.signature_finding(signed)

    assert found.outcome is Exit.PASSED, found.sentence


def test_signature__one_bit_flipped__fails_although_litert_would_run_it(signed: Artefact) -> None:
    path = signed.path / "m.litertlm"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)

    found = integrity.signature_finding(signed)

    assert found.outcome is Exit.FAILED
    assert "m.litertlm" in found.sentence


def test_signature__extra_or_missing_file__fails(signed: Artefact) -> None:
    (signed.path / "extra.bin").write_bytes(b"x")
    assert "extra.bin" in integrity.signature_finding(signed).sentence
    (signed.path / "extra.bin").unlink()
    (signed.path / "m.litertlm").unlink()
    assert integrity.signature_finding(signed).outcome is Exit.FAILED


def test_signature__by_somebody_else__fails(signed: Artefact, tmp_path: Path) -> None:
    _, other = keys(tmp_path, "other")

    assert integrity.signature_finding(Artefact(signed.path, signed.signature, other)).outcome is Exit.FAILED


def test_signature__no_key__is_a_lack_and_no_signature_a_failure(signed: Artefact, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"

    assert integrity.signature_finding(Artefact(signed.path, signed.signature, nothing)).outcome is Exit.UNMEASURED
    assert integrity.signature_finding(Artefact(signed.path, nothing, signed.public_key)).outcome is Exit.FAILED
    assert (
        integrity.signature_finding(Artefact(nothing, signed.signature, signed.public_key)).outcome is Exit.UNMEASURED
    )


@pytest.mark.parametrize(
    ("name", "content", "outcome"),
    [
        ("a.litertlm", b"LITERTLM" + b"\0" * 100, Exit.PASSED),
        ("a.litertlm", b"not a model", Exit.FAILED),
        ("a.tflite", b"\0\0\0\0TFL3" + b"\0" * 100, Exit.PASSED),
        ("a.tflite", b"", Exit.FAILED),
        ("a.txt", b"LITERTLM", Exit.FAILED),
    ],
)
def test_structure__kind_of_file__is_read_from_its_head(
    name: str, content: bytes, outcome: Exit, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / name).write_bytes(content)

    (found,) = integrity.structure_findings(Artefact(folder, tmp_path, tmp_path))

    assert found.outcome is outcome, found.sentence


# ---- repairs ----


def test_cache_clear__quarantines_and_only_with_force(
    signed: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAWKOPS_DATA", str(tmp_path / "data"))
    cached = signed.path / "m.litertlm.xnnpack_cache"
    cached.write_bytes(b"cache")

    (refused,) = integrity.cache_clear(signed, force=False)
    assert (refused.outcome, cached.exists()) == (Exit.FAILED, True)
    (done,) = integrity.cache_clear(signed, force=True)
    assert (done.outcome, cached.exists()) == (Exit.PASSED, False)
    assert [p.read_bytes() for p in (tmp_path / "data/quarantine").rglob("*.xnnpack_cache")] == [b"cache"]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A web server over a folder."""
    import http.server
    import threading
    from functools import partial

    folder = tmp_path / "shelf"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_redownload__proven__replaces_and_unproven__leaves_the_old_one(
    tmp_path: Path, shelf: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = shelf
    private, public = keys(tmp_path, "author")
    shutil.copy(synthetic.PATH, folder / "good.litertlm")
    (folder / "bad.litertlm").write_bytes(b"LITERTLM but not the signed one")
    installed = tmp_path / "installed.litertlm"
    installed.write_bytes(b"old")
    what = Artefact(installed, tmp_path / "m.sig", public)
    integrity.sign(Artefact(folder / "good.litertlm", what.signature, public), private)

    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    monkeypatch.delenv("MODEL_URL", raising=False)
    assert [f.outcome for f in integrity.redownload(what)] == [Exit.UNMEASURED]
    for name in ("bad.litertlm", "missing.litertlm"):
        monkeypatch.setenv("MODEL_URL", f"{url}/{name}")
        assert findings.together(f.outcome for f in integrity.redownload(what)) is Exit.FAILED
        assert installed.read_bytes() == b"old"
    monkeypatch.setenv("MODEL_URL", f"{url}/good.litertlm")
    assert findings.together(f.outcome for f in integrity.redownload(what)) is Exit.PASSED
    assert installed.read_bytes() == synthetic.PATH.read_bytes()
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


def test_redownload__no_key__replaces_nothing_and_is_no_data(
    tmp_path: Path, shelf: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With or without the runbook's --verify-integrity: an unproven file never takes the old one's place."""
    folder, url = shelf
    (folder / "evil.litertlm").write_bytes(b"LITERTLM evil, unsigned")
    installed = tmp_path / "installed.litertlm"
    installed.write_bytes(b"old")
    settings = {
        "MODEL_URL": f"{url}/evil.litertlm",
        "LITERT_MODEL": str(installed),
        "HAWKOPS_DATA": str(tmp_path / "data"),
        "OUTBOUND_PRIVATE": "1",
    }
    for options in ("", "--verify-integrity"):
        ended = typed(f"./scripts/redownload-models.sh {options}", BIN, **settings)
        assert ended.returncode == 77, ended.stdout + ended.stderr
        assert "the old one stays: the new one is not proven" in ended.stdout
        assert installed.read_bytes() == b"old"


def test_redownload__goes_through_the_guard_and_shows_no_address(
    tmp_path: Path, shelf: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = shelf
    what = Artefact(tmp_path / "m.litertlm", tmp_path / "m.sig", tmp_path / "m.pub")
    monkeypatch.delenv("OUTBOUND_PRIVATE", raising=False)
    monkeypatch.setenv("MODEL_URL", f"{url.replace('http:', 'https:')}/m?X-Amz-Signature=s3cr3t")
    (found,) = integrity.redownload(what)
    assert (found.outcome, "OUTBOUND_PRIVATE=1 allows that" in found.sentence) == (Exit.FAILED, True)
    monkeypatch.setenv("OUTBOUND_PRIVATE", "1")
    for address in (f"{url}/missing?X-Amz-Signature=s3cr3t", "http://127.0.0.1:1/m?X-Amz-Signature=s3cr3t"):
        monkeypatch.setenv("MODEL_URL", address)
        (found,) = integrity.redownload(what)
        assert found.outcome is Exit.FAILED
        assert "127.0.0.1" in found.sentence
        assert "s3cr3t" not in found.sentence


def test_redownload__as_large_as_may_be_written() -> None:
    assert integrity.DOWNLOAD_BYTES_MOST <= runner.FILE_BYTES


def test_cache_clear__model_missing__is_a_lack(tmp_path: Path) -> None:
    nothing = Artefact(tmp_path / "absent/m.litertlm", tmp_path, tmp_path)
    (found,) = integrity.cache_clear(nothing, force=True)

    assert found.outcome is Exit.UNMEASURED
    assert "the model is missing" in found.sentence


# ---- memory ----


def test_growth__of_a_line__is_its_slope_without_error() -> None:
    found = memory_watch.growth([(t, 50 * MEGABYTE + 1000.0 * t) for t in range(60)])

    assert found.per_hour == pytest.approx(3.6 * MEGABYTE)
    assert found.error == pytest.approx(0, abs=1)


def test_growth__of_noise__is_within_its_error() -> None:
    saw = [(float(t), 50 * MEGABYTE + (4096.0 if t % 2 else 0.0)) for t in range(60)]
    found = memory_watch.growth(saw)

    assert abs(found.per_hour) < 3 * found.error


@pytest.mark.parametrize(
    ("per_hour", "error", "leaks"),
    [(2, 1, False), (50, 10, True), (878, 405, None), (5, 3, None), (-900, 200, False), (11, 0.2, True)],
)
def test_settled__only_what_three_errors_leave_no_doubt_about(
    per_hour: float, error: float, leaks: bool | None
) -> None:
    assert memory_watch.settled(memory_watch.Growth(per_hour * 1e6, error * 1e6)) is leaks


def test_leaks__unsettled_after_every_look__is_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def wild(_what: Any, seconds: float) -> list[tuple[float, float]]:
        looks.append(seconds)
        return [(float(t), 1e8 * (t % 7)) for t in range(int(seconds))]

    monkeypatch.setattr(memory_watch, "_watch", wild)
    (found,) = memory_watch.leaks(Subject(Path("m"), "0", synthetic=True), (20.0, 40.0))
    assert (found.outcome, "may be one or not" in found.sentence) == (Exit.UNMEASURED, True)
    assert looks == [25.0, 45.0]


def test_watched__real_litert__is_below_its_limits() -> None:
    from hawkops.scripts.probes.measuring import subject

    found = list(memory_watch.watched(subject(), 2.0))

    assert [f.outcome for f in found] == [Exit.PASSED, Exit.PASSED]
    assert all(f.value and 20 * MEGABYTE < f.value < 500 * MEGABYTE for f in found)


# ---- AI as a whole ----


def test_comprehensive__broken_models_are_contained_and_the_cloud_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    with serving(CloudStandIn(random.Random(1))) as port:
        monkeypatch.setenv("CLOUD_AI_URL", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("HAWKOPS_BACKENDS", raising=False)
        found = list(core_ai.comprehensive())

    assert {f.outcome for f in found} == {Exit.PASSED}, found
    assert len(found) == 9


def test_core__no_cloud__is_a_lack_never_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUD_AI_URL", raising=False)

    assert findings.together(f.outcome for f in core_ai.core()) is Exit.UNMEASURED


# ---- a device behind adb ----

ADB = """#!/bin/sh
# Stands in for adb: answers from files, logs what it was asked, and refuses what adb refuses.
echo "$*" >> "$ADB_FOLDER/asked"
if [ "$1" = devices ]; then cat "$ADB_FOLDER/devices"; exit 0; fi
[ "$1" = -s ] && serial=$2 && shift 2
grep -q "^$serial" "$ADB_FOLDER/devices" || { echo "adb: device '$serial' not found" >&2; exit 1; }
shift
name=$(printf %s "$1" | tr -c 'a-z0-9-' _)
[ -f "$ADB_FOLDER/$name" ] || { echo "/system/bin/sh: $1: inaccessible or not found" >&2; exit 127; }
cat "$ADB_FOLDER/$name"
"""


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in `adb` first on the path; the folder holds what it answers."""
    program = tmp_path / "bin" / "adb"
    program.parent.mkdir()
    program.write_text(ADB)
    program.chmod(0o755)
    folder = tmp_path / "adb"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ADB_FOLDER", str(folder))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    (folder / "devices").write_text("List of devices attached\nR5CT\tdevice\n\n")
    return folder


def test_device__exactly_one__is_taken(adb: Path) -> None:
    assert android.device().serial == "R5CT"


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("List of devices attached\n\n", "no Android device is attached"),
        ("List of devices attached\nR5CT\tunauthorized\n\n", "1 not ready (unauthorized)"),
        ("List of devices attached\nA\tdevice\nB\tdevice\n\n", "ANDROID_SERIAL says which one"),
    ],
)
def test_device__none_or_several__is_said(adb: Path, listed: str, words: str) -> None:
    (adb / "devices").write_text(listed)

    with pytest.raises(android.NoDevice, match=words.replace("(", r"\(").replace(")", r"\)")):
        android.device()


def test_device__named__must_be_ready(adb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (adb / "devices").write_text("List of devices attached\nA\tdevice\nB\toffline\n\n")
    monkeypatch.setenv("ANDROID_SERIAL", "B")

    with pytest.raises(android.NoDevice, match=r"B .* is not ready"):
        android.device()


def test_gpu_drivers__of_a_device__are_named(adb: Path) -> None:
    (adb / "dumpsys").write_text("…\nGLES: Qualcomm, Adreno (TM) 750, OpenGL ES 3.2 V@0744.12\n")

    (found,) = device_state.gpu_drivers()

    assert found == Finding("GPU driver", Exit.PASSED, "Qualcomm, Adreno (TM) 750, OpenGL ES 3.2 V@0744.12")


@pytest.mark.parametrize(
    "renderer",
    [
        "Google (Google Inc.), Android Emulator OpenGL ES Translator (Google SwiftShader), OpenGL ES 3.1",
        "Mesa, llvmpipe (LLVM 15.0.7, 256 bits), OpenGL ES 3.2 Mesa 23.1",
    ],
)
def test_gpu_drivers__software_behind_adb__is_no_gpu(adb: Path, renderer: str) -> None:
    (adb / "dumpsys").write_text(f"…\nGLES: {renderer}\n")

    (found,) = device_state.gpu_drivers()

    assert found == Finding("GPU driver", Exit.UNMEASURED, f"software adapter, not a GPU: {renderer}")


@pytest.mark.parametrize("listed", ["A\tdevice\nB\tdevice\n", "A\tunauthorized\n"])
def test_gpu__of_a_device_that_is_not_clear__is_no_data_and_never_this_hosts(adb: Path, listed: str) -> None:
    (adb / "devices").write_text(f"List of devices attached\n{listed}\n")

    for look in (device_state.gpu_drivers, device_state.gpu_memory):
        (found,) = look()
        assert found.outcome is Exit.UNMEASURED
        assert "host" not in found.sentence


def test_gpu_memory__not_counted_by_the_device__is_a_lack(adb: Path) -> None:
    (adb / "dumpsys").write_text("nothing of the kind\n")
    assert [f.outcome for f in device_state.gpu_memory()] == [Exit.UNMEASURED]
    (adb / "dumpsys").write_text("Memory snapshot for GPU 0:\nGlobal total: 348160000\n")
    (found,) = device_state.gpu_memory()
    assert (found.outcome, found.value) == (Exit.PASSED, 348_160_000)


def test_storage__full_device_and_open_model__fail(adb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    monkeypatch.setenv("HAWKOPS_DATA", str(data))
    (adb / "df").write_text(
        "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/x 100000000 99900000 100000 99% /data\n"
    )
    (adb / "run-as").write_text("-rw-rw-rw- 1 10123 10123 817072 2026-11-20 10:00 m.litertlm\n")

    found = {f.title: f for f in device_state.storage()}

    assert found["Free space on the device"].outcome is Exit.FAILED
    assert found["Models on the device"].sentence == "anybody may write m.litertlm"
    assert found["Data folder on this host"].outcome is Exit.PASSED


def test_storage__no_device__says_so_and_checks_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HAWKOPS_DATA", str(tmp_path))
    tmp_path.chmod(stat.S_IRWXU | stat.S_IRWXO)

    found = {f.title: f for f in device_state.storage()}

    assert found["Storage on the device"].outcome is Exit.UNMEASURED
    assert "written by others" in found["Data folder on this host"].sentence
