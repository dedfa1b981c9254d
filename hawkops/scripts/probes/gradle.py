"""The app's production build, with LiteRT off in it: Gradle's word is not taken, the package and its constants are read."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from hawkops.scripts.probes.findings import Finding, failed, passed, unmeasured

TASK = ":androidApp:assembleRelease"
USUAL = (TASK, "-Penvironment=production")
# how a build says in its generated constants whether LiteRT is on from the start
OFF = re.compile(r"\bLITERT_ENABLED\s*=\s*(true|false|Boolean\.parseBoolean\(\"(?:true|false)\"\))")
WORD = re.compile(r"[:A-Za-z-][A-Za-z0-9:._=-]*")
TAIL = 200


def build(words: Sequence[str]) -> Iterator[Finding]:
    """Build in the checkout that ANDROID_PROJECT names. Raises ValueError for words that are no task or option."""
    words = list(words) or list(USUAL)
    if unfit := [word for word in words if not WORD.fullmatch(word)]:
        raise ValueError(f"{unfit[0]!r} is no task and no option of Gradle")
    lack = _lacking()
    if lack:
        yield unmeasured("Build", lack)
        return
    project = Path(os.environ["ANDROID_PROJECT"])
    code, said = _run([str(project / "gradlew"), *words], project)
    if code:
        wrong = next(
            (said[at + 1] for at, line in enumerate(said[:-1]) if "went wrong" in line), said[-1] if said else ""
        )
        yield failed("Build", f"Gradle ended with status {code}: {wrong.strip()[:300]}")
        return
    module = next((word.strip(":").split(":")[0] for word in words if word.startswith(":")), "androidApp")
    yield from _package(project / module)
    yield _off(project / module)


def _lacking() -> str:
    named = os.environ.get("ANDROID_PROJECT", "")
    if not named:
        return "no checkout of the app: ANDROID_PROJECT names none"
    if not os.access(Path(named) / "gradlew", os.X_OK):
        return f"{named} has no gradlew that can be run (ANDROID_PROJECT names the app's checkout)"
    home = os.environ.get("JAVA_HOME", "")
    if not (shutil.which("java") or (home and os.access(Path(home) / "bin" / "java", os.X_OK))):
        return "Java is not installed on this host (JAVA_HOME names it)"
    return ""


def _run(command: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """Run Gradle, pass its words on as they come, and return its status with the last of them."""
    said: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line.rstrip(), flush=True)
            said = [*said[-TAIL:], line.rstrip()]
    return process.returncode, [line for line in said if line]


def _package(module: Path) -> Iterator[Finding]:
    found = sorted((module / "build/outputs/apk").glob("**/release/*.apk"), key=lambda path: path.stat().st_mtime)
    if not found:
        yield failed("Package", f"Gradle reported success, and there is no APK under {module.name}/build/outputs/apk")
        return
    digest = hashlib.sha256(found[-1].read_bytes()).hexdigest()
    size = found[-1].stat().st_size
    yield passed("Package", f"{found[-1].name}, {size} bytes, sha256 {digest}", value=float(size), unit="By")


def _off(module: Path) -> Finding:
    """Tell whether the build starts with LiteRT off: by its own constants, or not at all."""
    title = "LiteRT is off in the build"
    sources = [
        path
        for suffix in ("java", "kt")
        for path in (module / "build/generated").glob(f"**/release/**/BuildConfig.{suffix}")
    ]
    said = {found[1] for path in sources for found in OFF.finditer(path.read_text(errors="replace"))}
    if not said:
        return unmeasured(title, "the build's BuildConfig does not say: it has no LITERT_ENABLED")
    if any("true" in value for value in said):
        return failed(title, "LITERT_ENABLED is true in the release's BuildConfig")
    return passed(title, "LITERT_ENABLED is false in the release's BuildConfig")
