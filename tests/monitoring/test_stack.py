"""The monitoring stack: the manifest holds what the code says, and every part that is dead is named."""

import json
import re
import shutil
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import time_machine
import yaml
from celery import current_app
from django.test import Client

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import InvalidInput
from hawkops.history.services import change, heartbeat_record
from hawkops.scripts import services, tasks
from hawkops.scripts.models import RunOutput, State
from hawkops.scripts.probes import cluster
from hawkops.scripts.probes.measuring import Exit
from hawkops.scripts.tasks import INSTALLATION
from hawkops.serve import APPLICATIONS
from monitoring.models import Evaluation, StoredCriterion
from monitoring.probes import stack
from monitoring.services.criteria import criteria_seed
from tests.monitoring.conftest import serving
from tests.monitoring.test_probes import ME, of, run, titled, verdict
from tests.probes.test_tools import KUBECTL, placed

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = cluster.objects()
DEPLOYMENTS = [one for one in OBJECTS if one["kind"] == "Deployment"]
CONTAINERS = [
    container
    for one in DEPLOYMENTS
    for part in ("initContainers", "containers")
    for container in one["spec"]["template"]["spec"].get(part, [])
]
COMMANDS = [container["command"] for container in CONTAINERS if "command" in container]


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))


# ---- the manifest ----


def test_manifest__workers_take_from_every_queue_and_beat_stands_once() -> None:
    taken = [command[command.index("-Q") + 1] for command in COMMANDS if "-Q" in command]

    assert sorted(taken) == stack.queues()
    assert sum("beat" in command for command in COMMANDS) == 1
    assert named("Deployment", "hawkops-workers")["spec"]["replicas"] == 1
    assert import_module("hawkops.celery").app.main == "hawkops"


def test_manifest__commands_and_ports_are_those_of_the_programs() -> None:
    served = [command for command in COMMANDS if command[:3] == ["python", "-m", "hawkops.serve"]]
    commands = {path.stem for path in ROOT.glob("*/**/management/commands/*.py")} | {"migrate", "collectstatic"}

    assert {command[3] for command in served} == set(APPLICATIONS)
    for command in COMMANDS:
        if command[1] == "manage.py":
            assert command[2] in commands
    for container in CONTAINERS:
        if container["name"] in APPLICATIONS:
            assert container["command"][-1] == str(container["ports"][0]["containerPort"])
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for service in (one for one in OBJECTS if one["kind"] == "Service"):
        selected = service["spec"]["selector"]["app"]
        pods = named("Deployment", selected)["spec"]["template"]["spec"]["containers"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {
            port["name"] for pod in pods for port in pod["ports"]
        }


def test_manifest__settings_and_secrets_are_ones_that_are_read() -> None:
    text = cluster.MANIFEST.read_text()
    settings = set(named("ConfigMap", "hawkops-settings")["data"])
    secret = set(re.findall(r"--from-literal=([A-Z_]+)=", text))

    assert settings | secret <= {*INSTALLATION, "HAWKOPS_DATA"}
    assert {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "METRICS_TOKEN"} <= secret
    for container in CONTAINERS:
        if "command" in container:
            assert container["envFrom"] == [
                {"configMapRef": {"name": "hawkops-settings"}}, {"secretRef": {"name": "hawkops-secrets"}},
            ]  # fmt: skip
            assert "localhost" in named("ConfigMap", "hawkops-settings")["data"]["ALLOWED_HOSTS"]


@pytest.mark.django_db
def test_manifest__prometheus_asks_for_what_is_answered(client: Client, settings: Any) -> None:
    files = named("ConfigMap", "hawkops-prometheus")["data"]
    scrape = yaml.safe_load(files["prometheus.yml"])["scrape_configs"][0]
    settings.METRICS_TOKEN = "x" * 20
    criteria_seed(actor=ME)
    Evaluation.objects.create(environment="production", began_at=clock.now(), looked_at=clock.now())
    answer = client.get(scrape["metrics_path"], headers={"Authorization": f"Bearer {'x' * 20}"})
    said = answer.content.decode()

    assert answer.status_code == 200
    for group in yaml.safe_load(files["rules.yml"])["groups"]:
        for rule in group["rules"]:
            for metric, labels in re.findall(r"(hawkops_\w+)\{([^}]*)\}", rule["expr"]):
                wanted = set(re.findall(r'\w+="[^"]*"', labels))
                rows = [line for line in said.splitlines() if line.startswith(f"{metric}{{")]
                assert any(wanted <= set(re.findall(r'\w+="[^"]*"', row)) for row in rows), rule["expr"]


# ---- the cluster ----


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    placed(tmp_path / "bin", "kubectl", KUBECTL)
    for name in ("cat", "grep", "sed", "tr"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("STANDIN", str(tmp_path))
    return tmp_path


def test_cluster__pods_that_are_not_ready__fail(kubectl: Path) -> None:
    deployed = [{**one, "status": {"readyReplicas": one["spec"]["replicas"]}} for one in DEPLOYMENTS]
    (kubectl / "items").write_text(json.dumps({"items": deployed}))
    assert {one.outcome for one in cluster.deployed_findings()} == {Exit.PASSED}

    del deployed[0]["status"]
    (kubectl / "items").write_text(json.dumps({"items": deployed}))
    found = list(cluster.deployed_findings())
    assert of(found, Exit.FAILED) == {f"Deployment {DEPLOYMENTS[0]['metadata']['name']}"}


def test_cluster__nothing_applied_there__fails_and_none_at_all_is_out_of_scope(
    kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = cluster.deployed_findings()
    assert (found.outcome, 'namespaces "hawkops" not found' in found.sentence) == (Exit.FAILED, True)

    (kubectl / "away").touch()
    (found,) = cluster.deployed_findings()
    assert (found.outcome, "reaches no cluster" in found.sentence) == (None, True)
    monkeypatch.setenv("PATH", "")
    (found,) = cluster.deployed_findings()
    assert (found.outcome, "not installed" in found.sentence) == (None, True)


# ---- what runs ----


@pytest.mark.fresh_database
def test_stack__dead_parts__are_each_named(settings: Any) -> None:
    settings.CONSOLE_URL = settings.GATEWAY_URL = "http://127.0.0.1:1"
    settings.METRICS_TOKEN = "x" * 20
    found = run("monitoring-stack")

    assert {
        "Criteria", "Alert evaluation", "Ingest", "/metrics", "Health check: LiteRT availability",
        *(f"Worker of {name}" for name in stack.queues()),
    } <= of(found, Exit.FAILED)  # fmt: skip
    assert of(found, Exit.PASSED) <= {"Manifest", "Beat"}


@pytest.mark.fresh_database
def test_stack__silent_beat_and_stopped_evaluation__fail() -> None:
    heartbeat_record()
    criteria_seed(actor=ME)
    now = clock.now()
    row = Evaluation.objects.create(environment="demo", began_at=now, looked_at=now)
    assert stack._beat().outcome is Exit.PASSED
    assert stack._evaluator("demo").outcome is Exit.PASSED
    assert stack._rules().outcome is Exit.PASSED

    row.failures, row.error = 3, "a broken rule"
    row.save()
    assert "a broken rule" in stack._evaluator("demo").sentence
    row.looked_at = now - timedelta(minutes=2)
    row.save()
    assert stack._evaluator("demo").outcome is Exit.FAILED
    StoredCriterion.objects.filter(key="alert-latency").update(document={"key": "alert-latency"})
    assert "alert-latency" in stack._rules().sentence


@pytest.mark.fresh_database
def test_beat__other_entries__are_no_heartbeat() -> None:
    now = clock.now()
    with time_machine.travel(now - timedelta(hours=30), tick=False):
        assert "no heartbeat was ever written" in stack._beat().sentence
        heartbeat_record()
    with change(actor=ME, environment="demo") as this:
        this.record("run.requested", subject="run:1")

    found = stack._beat()
    assert found.outcome is Exit.FAILED
    assert found.value == pytest.approx(30 * 3600, abs=60)


@pytest.mark.fresh_database
def test_stack__marked_log_line__is_found_again_through_the_real_door(settings: Any) -> None:
    from hawkops.accounts.services.credentials import probe_key_ensure
    from tests.monitoring import conftest

    secret = probe_key_ensure(environment="demo")
    conftest.KEYS[secret] = conftest.Key("demo", "probe")
    try:
        with serving(settings.DATABASE_URL) as door:
            settings.GATEWAY_URL = door.url
            found = titled(list(stack._doors("demo")))
    finally:
        del conftest.KEYS[secret]

    assert {one.outcome for one in found.values()} == {Exit.PASSED}, found
    assert "found again after" in found["Ingest, logs"].sentence


def test_queues__are_those_of_celerys_own_routes_and_schedule() -> None:
    assert stack.queues() == ["alerts", "critical", "health", "scripts"]
    assert current_app.conf.task_default_queue in stack.queues()


@pytest.mark.fresh_database
def test_health__dead_parts_fail_and_an_unknown_telemetry_is_a_lack(settings: Any) -> None:
    settings.CONSOLE_URL = settings.GATEWAY_URL = "http://127.0.0.1:1"
    found = run("system-health", f"--environment={Environment.STAGING}")

    assert verdict(found) is Exit.FAILED
    assert {"Console", "Gateway", "Worker of alerts"} <= of(found, Exit.FAILED)
    assert {"Telemetry", "Critical alerts"} <= of(found, Exit.UNMEASURED)
    assert titled(found)["Database"].outcome is Exit.PASSED


@pytest.mark.fresh_database
def test_run__of_an_environment__judges_that_one_and_no_option_says_otherwise() -> None:
    """Whoever may run scripts in demo reads nothing of production by it, and demo's numbers tick nothing there."""
    criteria_seed(actor=ME)
    name = "scripts/validate-user-metrics.sh"
    with pytest.raises(InvalidInput, match="no option --environment"):
        services.run_request(environment="demo", name=name, arguments={"environment": "production"}, actor=ME)
    asked = services.run_request(environment="demo", name=name, arguments={"duration": "48h"}, actor=ME)
    tasks.run(asked.pk)
    asked.refresh_from_db()

    assert asked.state == State.NO_DATA
    assert any(
        "Environment demo, the last 48" in line
        for line in RunOutput.objects.filter(run=asked).values_list("text", flat=True)
    )
    assert asked.summary.startswith("0 of 5 lines pass; not known: Task completion")
    assert {one["outcome"] for one in asked.results} == {"no_data"}
