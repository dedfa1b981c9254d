"""Kubernetes: the manifest as it stands, and `kubectl apply` of it. Without kubectl or a cluster nothing is known."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hawkops.scripts.probes.findings import Finding, failed, not_judged, passed, unmeasured
from hawkops.scripts.probes.measuring import ROOT

FOLDER = ROOT / "monitoring"
MANIFEST = FOLDER / "production-monitoring.yaml"
SECONDS = 60
DRY_RUN = "--dry-run"
APPLIED = re.compile(r"^(\S+/\S+) (created|configured|unchanged|serverside-applied)(?: \(dry run\))?$")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# what every object of these kinds must have, by the path to it
NEEDED = {
    "Deployment": ("spec.selector.matchLabels", "spec.template.metadata.labels", "spec.template.spec.containers"),
    "StatefulSet": ("spec.selector.matchLabels", "spec.template.metadata.labels", "spec.template.spec.containers"),
    "Job": ("spec.template.spec.containers",),
    "Service": ("spec.ports",),
    "ConfigMap": ("data",),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.resources"),
    "NetworkPolicy": ("spec.podSelector",),
}
# how a shell script of ours is told from the real program of its name
OURS = b"probes/run.sh"


class NoCluster(Exception):
    """There is no cluster to ask; the message says what is missing."""


def kubectl() -> str:
    """Return the real kubectl. Raises NoCluster."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = shutil.which("kubectl", path=folder) if folder else None
        if found and OURS not in Path(found).read_bytes()[:2_000]:
            return found
    raise NoCluster("kubectl is not installed on this host")


def cluster() -> str:
    """Return the real kubectl, once a cluster answers it. Raises NoCluster."""
    program = kubectl()
    done = _asked(program, "get", "--raw", "/version", "--request-timeout=10s")
    if done.returncode:
        raise NoCluster(f"kubectl reaches no cluster: {_last(done)}")
    return program


def _asked(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [program, *words], capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoCluster(f"kubectl gave no answer within {SECONDS} s") from None
    except OSError as error:
        raise NoCluster(f"kubectl can't be run: {error.strerror}") from error


def _last(done: "subprocess.CompletedProcess[str]") -> str:
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1][:300] if said else f"it ended with status {done.returncode}"


# ---- the manifest ----


def objects(path: Path = MANIFEST) -> list[dict[str, Any]]:
    """Read a manifest's objects. Raises ValueError that says which document is none."""
    # the other probes run with a Python that has nothing but LiteRT
    import yaml

    try:
        found = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name} can't be read: {' '.join(str(error).split())[:300]}") from error
    seen = set()
    for number, one in enumerate(found, 1):
        wrong = _wrong(one)
        if wrong:
            raise ValueError(f"{path.name}, object {number}: {wrong}")
        name = (one["apiVersion"], one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
        if name in seen:
            raise ValueError(f"{path.name}, object {number}: {one['kind']} {one['metadata']['name']} stands here twice")
        seen.add(name)
    if not found:
        raise ValueError(f"{path.name} holds no object")
    return found


def _wrong(one: Any) -> str:
    if not isinstance(one, dict) or not all(isinstance(one.get(name), str) for name in ("apiVersion", "kind")):
        return "it has no apiVersion and kind"
    metadata = one.get("metadata")
    if not isinstance(metadata, dict) or not NAME.fullmatch(str(metadata.get("name", ""))):
        return f"the {one['kind']} has no name that Kubernetes takes"
    for place in NEEDED.get(one["kind"], ()):
        if _at(one, place) in (None, [], {}):
            return f"the {one['kind']} {metadata['name']} has no {place}"
    selected = _at(one, "spec.selector.matchLabels")
    labels = _at(one, "spec.template.metadata.labels") or {}
    if selected and not selected.items() <= labels.items():
        return f"the {one['kind']} {metadata['name']} selects other labels than its pods have"
    return ""


def _at(one: Any, place: str) -> Any:
    for part in place.split("."):
        one = one.get(part) if isinstance(one, dict) else None
    return one


def manifest_findings(path: Path = MANIFEST) -> Iterator[Finding]:
    """Say what the manifest holds, or what is wrong with it."""
    try:
        found = objects(path)
    except ValueError as error:
        yield failed("Manifest", str(error))
        return
    kinds = sorted({one["kind"] for one in found})
    many = [f"{sum(one['kind'] == kind for one in found)} {kind}" for kind in kinds]
    yield passed("Manifest", f"{path.name} holds {len(found)} objects: {', '.join(many)}", value=float(len(found)))


# ---- the cluster ----


def deployed_findings(path: Path = MANIFEST) -> Iterator[Finding]:
    """Compare the cluster with the manifest; where there is none, what runs here must speak for itself."""
    title = "Cluster"
    try:
        program = cluster()
        done = _asked(program, "get", "-f", str(path), "-o", "json", "--request-timeout=30s")
    except NoCluster as lack:
        yield not_judged(title, f"{lack}; what runs is asked directly")
        return
    if done.returncode:
        yield failed(title, f"not everything of {path.name} is there: {_last(done)}")
        return
    said = json.loads(done.stdout)
    for one in said.get("items", [said]):
        if one.get("kind") not in ("Deployment", "StatefulSet"):
            continue
        wanted, ready = one["spec"].get("replicas", 1), one.get("status", {}).get("readyReplicas", 0)
        judged = passed if ready >= wanted else failed
        yield judged(f"{one['kind']} {one['metadata']['name']}", f"{ready} of {wanted} pods are ready")


def run(words: Sequence[str]) -> Iterator[Finding]:
    """Apply a manifest as the runbook does: `apply -f FILE`. With `--dry-run` the cluster is asked and not changed."""
    dry_run = DRY_RUN in words
    words = [word for word in words if word != DRY_RUN] or ["apply", "-f", "monitoring/production-monitoring.yaml"]
    if len(words) != 3 or words[:2] != ["apply", "-f"]:
        raise ValueError(f"only `kubectl apply -f FILE` is run from here, not {' '.join(words)!r}")
    path = next((one for one in (Path(words[2]), FOLDER / Path(words[2]).name) if one.is_file()), None)
    if path is None:
        yield failed("Manifest", f"{words[2]} is missing")
        return
    for finding in manifest_findings(path):
        yield finding
        if finding.outcome:
            return
    try:
        # the client's own: a dry run on the server would need the namespace that the manifest itself makes
        done = _asked(cluster(), "apply", "-f", str(path), *(["--dry-run=client"] if dry_run else []))
    except NoCluster as lack:
        yield unmeasured("Apply", f"{lack}; nothing was applied")
        return
    for text in done.stdout.splitlines():
        if found := APPLIED.match(text.strip()):
            yield passed(found[1], f"would be {found[2]}" if dry_run else found[2])
    if done.returncode:
        yield failed("Apply", f"the cluster refused: {_last(done)}")
