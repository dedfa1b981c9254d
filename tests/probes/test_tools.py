"""kubectl, gradlew, df and watch as the runbook types them, against stand-ins that refuse what the real ones refuse."""

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.probes.test_scripts import BIN, FROM_ENVIRONMENT

MANIFEST = "monitoring/production-monitoring.yaml"
APPLY = f"kubectl apply -f {MANIFEST}"
BUILD = "./gradlew :androidApp:assembleRelease -Penvironment=production"
DF = "df -h /data/data/com.hazardhawk"

KUBECTL = r"""#!/bin/sh
# Stands in for kubectl 1.3x: logs what it was asked; a cluster that is away, rights that lack and files that are no
# objects are refused in kubectl's own words, with its status 1.
printf '%s\n' "$*" >> "$STANDIN/asked"
if [ -f "$STANDIN/away" ]; then
    echo "The connection to the server localhost:8080 was refused - did you specify the right host or port?" >&2
    exit 1
fi
case "$1" in
    get)
        if [ "$2" = --raw ]; then echo '{"major": "1", "minor": "32"}'; exit 0; fi
        if [ -f "$STANDIN/items" ]; then cat "$STANDIN/items"; exit 0; fi
        echo 'Error from server (NotFound): namespaces "hawkops" not found' >&2
        exit 1
        ;;
    apply)
        [ "$2" = -f ] || { echo "error: must specify one of -f and -k" >&2; exit 1; }
        [ -f "$3" ] || { echo "error: the path \"$3\" does not exist" >&2; exit 1; }
        if [ -f "$STANDIN/forbidden" ]; then
            echo "namespace/hawkops unchanged"
            echo 'Error from server (Forbidden): deployments.apps is forbidden: User "dev" cannot create resource' >&2
            exit 1
        fi
        case "$4" in '' | --dry-run=client) ;; *) echo "error: unknown flag: $4" >&2; exit 1 ;; esac
        grep -A3 '^kind:' "$3" | sed -n 's/^kind: \(.*\)/\1/p' | tr A-Z a-z | while read -r kind; do
            echo "$kind/hawkops created$([ "$4" = --dry-run=client ] && echo ' (dry run)')"
        done
        ;;
    *) echo "error: unknown command \"$1\" for \"kubectl\"" >&2; exit 1 ;;
esac
"""
GRADLE = r"""#!/bin/sh
# Stands in for an app's gradlew: knows one task, refuses others as Gradle does, and builds what $STANDIN says.
printf '%s\n' "$*" >> "$STANDIN/asked"
if [ "$1" != ":androidApp:assembleRelease" ]; then
    printf '\nFAILURE: Build failed with an exception.\n\n* What went wrong:\n' >&2
    echo "Cannot locate tasks that match '$1' as project 'HazardHawk' not found." >&2
    exit 1
fi
[ "$2" = "-Penvironment=production" ] || { echo "environment is missing" >&2; exit 1; }
out=androidApp/build/outputs/apk/release generated=androidApp/build/generated/source/buildConfig/release/com/hazardhawk
mkdir -p "$generated"
[ -f "$STANDIN/empty" ] || { mkdir -p "$out"; echo apk > "$out/androidApp-release.apk"; }
cat "$STANDIN/constants" > "$generated/BuildConfig.java"
echo "BUILD SUCCESSFUL in 1s"
"""
ADB = r"""#!/bin/sh
# Stands in for adb with one device, whose toybox df answers -h and -k and refuses other folders.
printf '%s\n' "$*" >> "$STANDIN/asked"
if [ "$1" = devices ]; then printf 'List of devices attached\n%s\n' "$(cat "$STANDIN/devices")"; exit 0; fi
[ "$1 $2 $3 $4" = "-s R5CT shell df" ] || { echo "adb: device '$2' not found" >&2; exit 1; }
[ "$6" = /data/data/com.hazardhawk ] || { echo "df: $6: No such file or directory" >&2; exit 1; }
case $5 in
    -h) printf 'Filesystem Size Used Avail Use%% Mounted on\n/dev/block/dm-52 224G 210G 14G 94%% /data/user/0\n' ;;
    -k) echo "Filesystem 1K-blocks Used Available Use% Mounted on"; cat "$STANDIN/row" ;;
    *) echo "df: Unknown option" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def standin(tmp_path: Path) -> Path:
    """A folder for stand-ins; what they were asked stands in `asked`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "asked").touch()
    return tmp_path


def placed(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def bare(folder: Path) -> str:
    """A path on which nothing stands but a shell's own tools and Python."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "dirname", "python3", "cat", "grep", "sed", "tr", "mkdir", "env", "printf", "date"):
        found = next(
            (Path(where) / name for where in os.environ["PATH"].split(":") if (Path(where) / name).exists()), None
        )
        if found is not None and not (tools / name).exists():
            (tools / name).symlink_to(found)
    return str(tools)


def typed(command: str, standin: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Type a line as somebody with bin/ on the path would, with nothing else there but the stand-ins."""
    environment = {name: value for name, value in os.environ.items() if name not in FROM_ENVIRONMENT}
    environment.pop("ANDROID_PROJECT", None)
    environment.pop("JAVA_HOME", None)
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=BIN,
        env={**environment, "PATH": f"{BIN}:{standin / 'bin'}:{bare(standin)}", "STANDIN": str(standin), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def asked(standin: Path) -> list[str]:
    return (standin / "asked").read_text().splitlines()


# ---- kubectl ----


def test_kubectl__cluster_there__applies_and_lists_every_object(standin: Path) -> None:
    placed(standin / "bin", "kubectl", KUBECTL)
    ended = typed(APPLY, standin)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "✅ deployment/hawkops: created" in ended.stdout
    assert asked(standin) == ["get --raw /version --request-timeout=10s", f"apply -f {MANIFEST}"]


@pytest.mark.parametrize("line", [f"{APPLY} --dry-run", "kubectl --dry-run"])
def test_kubectl__dry_run__asks_the_cluster_and_changes_nothing(standin: Path, line: str) -> None:
    placed(standin / "bin", "kubectl", KUBECTL)
    ended = typed(line, standin)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "✅ deployment/hawkops: would be created" in ended.stdout
    assert asked(standin)[1] == f"apply -f {MANIFEST} --dry-run=client"
    assert len(asked(standin)) == 2


def test_kubectl__refused_by_the_cluster__fails_with_its_words(standin: Path) -> None:
    placed(standin / "bin", "kubectl", KUBECTL)
    (standin / "forbidden").touch()
    ended = typed(APPLY, standin)

    assert ended.returncode == 1
    assert "❌ Apply: the cluster refused: Error from server (Forbidden)" in ended.stdout
    assert "✅ namespace/hawkops: unchanged" in ended.stdout


def test_kubectl__absent_or_without_cluster__is_no_data_and_applies_nothing(standin: Path) -> None:
    ended = typed(APPLY, standin)
    assert ended.returncode == 77
    assert "kubectl is not installed on this host; nothing was applied" in ended.stdout

    placed(standin / "bin", "kubectl", KUBECTL)
    (standin / "away").touch()
    ended = typed(APPLY, standin)
    assert ended.returncode == 77
    assert "kubectl reaches no cluster: The connection to the server localhost:8080 was refused" in ended.stdout
    assert not [line for line in asked(standin) if line.startswith("apply")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: Service\n", "has no apiVersion and kind"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name}\n", "no name that Kubernetes takes"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {}\n", "has no spec.ports"),
        ("apiVersion: v1\nkind: [\n", "can't be read"),
        ("# nothing\n", "holds no object"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, "
            "template: {metadata: {labels: {a: c}}, spec: {containers: [{name: x}]}}}\n",
            "selects other labels than its pods have",
        ),
    ],
)
def test_kubectl__manifest_that_is_none__is_never_sent(standin: Path, text: str, words: str) -> None:
    placed(standin / "bin", "kubectl", KUBECTL)
    (standin / "own.yaml").write_text(text)
    ended = typed(f"kubectl apply -f {standin}/own.yaml", standin)

    assert ended.returncode == 1
    assert words in ended.stdout
    assert asked(standin) == []


@pytest.mark.parametrize("words", ["delete -f x.yaml", "apply -k .", "apply -f a -f b"])
def test_kubectl__anything_else__is_refused(standin: Path, words: str) -> None:
    placed(standin / "bin", "kubectl", KUBECTL)

    assert typed(f"kubectl {words}", standin).returncode == 2
    assert asked(standin) == []


def test_kubectl__file_that_is_missing__fails(standin: Path) -> None:
    assert typed("kubectl apply -f absent.yaml", standin).returncode == 1


# ---- gradlew ----


def project(standin: Path, constants: str = "public static final boolean LITERT_ENABLED = false;") -> dict[str, str]:
    placed(standin / "app", "gradlew", GRADLE)
    placed(standin / "bin", "java", "#!/bin/sh\n")
    (standin / "constants").write_text(constants)
    return {"ANDROID_PROJECT": str(standin / "app")}


def test_gradle__builds__and_litert_is_off_in_it(standin: Path) -> None:
    ended = typed(BUILD, standin, **project(standin))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert asked(standin) == [":androidApp:assembleRelease -Penvironment=production"]
    assert "✅ Package: androidApp-release.apk" in ended.stdout
    assert typed("./gradlew", standin, **project(standin)).returncode == 0
    assert asked(standin)[1] == asked(standin)[0]


@pytest.mark.parametrize(
    ("constants", "status", "words"),
    [
        ("public static final boolean LITERT_ENABLED = true;", 1, "LITERT_ENABLED is true"),
        ('LITERT_ENABLED = Boolean.parseBoolean("false");', 0, "LITERT_ENABLED is false"),
        ("public static final boolean DEBUG = false;", 77, "does not say"),
    ],
)
def test_gradle__constants_of_the_build__are_what_counts(
    standin: Path, constants: str, status: int, words: str
) -> None:
    ended = typed(BUILD, standin, **project(standin, constants))

    assert (ended.returncode, words in ended.stdout) == (status, True), ended.stdout


def test_gradle__success_without_a_package__fails(standin: Path) -> None:
    """The tool's own word is not taken: it ends with 0 and built nothing."""
    (standin / "empty").touch()
    ended = typed(BUILD, standin, **project(standin))

    assert ended.returncode == 1
    assert "reported success, and there is no APK" in ended.stdout


def test_gradle__failure__is_said_in_its_words(standin: Path) -> None:
    ended = typed("./gradlew :iosApp:assembleRelease", standin, **project(standin))

    assert ended.returncode == 1
    assert "Cannot locate tasks that match ':iosApp:assembleRelease'" in ended.stdout


def test_gradle__without_what_it_needs__is_no_data(standin: Path) -> None:
    assert "ANDROID_PROJECT names none" in typed(BUILD, standin).stdout
    settings = project(standin)
    (standin / "bin/java").unlink()
    assert "Java is not installed" in typed(BUILD, standin, **settings).stdout
    (standin / "app/gradlew").chmod(stat.S_IRUSR)
    ended = typed(BUILD, standin, ANDROID_PROJECT=str(standin / "absent"))
    assert "has no gradlew" in ended.stdout
    assert ended.returncode == 77


def test_gradle__words_of_a_shell__are_refused(standin: Path) -> None:
    ended = typed("./gradlew ':a; rm -rf /'", standin, **project(standin))

    assert ended.returncode == 2
    assert asked(standin) == []


# ---- df ----


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("/dev/block/dm-52 234881024 220200960 14680064 94% /data/user/0\n", 0),
        ("/dev/block/dm-52 234881024 234800000 81024 100% /data/user/0\n", 1),
        ("nonsense\n", 77),
    ],
)
def test_df__of_a_device__prints_its_table_and_judges_the_room(standin: Path, row: str, status: int) -> None:
    placed(standin / "bin", "adb", ADB)
    (standin / "devices").write_text("R5CT\tdevice\n")
    (standin / "row").write_text(row)
    ended = typed(DF, standin)

    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "/dev/block/dm-52 224G 210G 14G 94% /data/user/0" in ended.stdout
    assert "-s R5CT shell df -h /data/data/com.hazardhawk" in asked(standin)


def test_df__no_device__is_no_data_and_never_this_hosts_disk(standin: Path) -> None:
    ended = typed(DF, standin)

    assert ended.returncode == 77
    assert "adb is not installed" in ended.stdout
    assert "GB" not in ended.stdout


def test_df__folder_that_the_device_lacks__fails(standin: Path) -> None:
    placed(standin / "bin", "adb", ADB)
    (standin / "devices").write_text("R5CT\tdevice\n")
    ended = typed("df -h /data/data/com.other", standin)

    assert ended.returncode == 1
    assert "No such file or directory" in ended.stdout


# ---- watch ----


@pytest.mark.parametrize(("last", "status"), [(0, 0), (3, 1), (77, 77)])
def test_watch__repeats_and_ends_as_its_last_round(standin: Path, last: int, status: int) -> None:
    command = f"echo round >> {standin}/asked; [ $(grep -c round {standin}/asked) -lt 2 ] || exit {last}"
    ended = typed(f"watch -n 1 --duration=3s '{command}'", standin)

    assert ended.returncode == status, ended.stdout + ended.stderr
    assert len(asked(standin)) > 1
    assert f"of {len(asked(standin))} rounds" in ended.stdout


def test_watch__without_an_end__goes_on_until_it_is_ended(standin: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}:{bare(standin)}"}
    environment.pop("HAWKOPS_RESULT", None)
    process = subprocess.Popen(
        ["watch", "-n", "1", f"echo round >> {standin}/asked"],
        cwd=BIN,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while len(asked(standin)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "rounds" in out


def test_watch__faster_than_a_second__is_refused(standin: Path) -> None:
    assert typed("watch -n 0.1 true", standin).returncode == 2
