"""Results of security scanners: SARIF 2.1.0 and CycloneDX JSON, read down to how many findings are how grave. Pure.

What a tool suppressed counts all the same: accepting a finding is a waiver, which takes a second person.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from hawkops.core.bounded import Malformed, json_loads
from hawkops.core.errors import InvalidInput

FILE_BYTES = 5_000_000
DEPTH_MOST = 40
CRITICAL, HIGH, MEDIUM, LOW, UNKNOWN = "critical", "high", "medium", "low", "unknown"
SEVERITIES = (CRITICAL, HIGH, MEDIUM, LOW, UNKNOWN)
# of CVSS, and of SARIF's `security-severity`
AT_LEAST = ((9.0, CRITICAL), (7.0, HIGH), (4.0, MEDIUM))
# a tool that gives no score says how grave it is by the level only, and an error may be anything
LEVELS = {"error": CRITICAL, "warning": MEDIUM, "note": LOW}
MENDED = ("resolved", "resolved_with_pedigree")


@dataclass(frozen=True)
class Scan:
    """What one file says: who looked, in which format, and how many findings are how grave."""

    tool: str
    format: str
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All findings."""
        return sum(self.counts.values())


def read(content: bytes) -> Scan:
    """Read a file of either format. Raises InvalidInput, which says what is missing."""
    if len(content) > FILE_BYTES:
        raise InvalidInput(f"The file has more than {FILE_BYTES // 1_000_000} MB.")
    try:
        document = json_loads(content.removeprefix(b"\xef\xbb\xbf"), max_depth=DEPTH_MOST)
    except Malformed as error:
        raise InvalidInput(f"The file is no JSON that can be read. {error.message}") from error
    if isinstance(document, dict) and document.get("bomFormat") == "CycloneDX":
        return _cyclonedx(document)
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        return _sarif(document)
    raise InvalidInput("The file is neither SARIF 2.1.0 (`runs`) nor CycloneDX JSON (`bomFormat`).")


def _scan(tool: str, form: str, found: Iterator[str]) -> Scan:
    counts = Counter(found)
    fit = " ".join(tool.replace("\x00", "").split())[:200]
    return Scan(fit or form, form, {one: counts[one] for one in SEVERITIES if counts[one]})


# ---- SARIF ----


def _sarif(document: dict[str, Any]) -> Scan:
    if document.get("version") != "2.1.0":
        raise InvalidInput(f"SARIF must be of version 2.1.0, not {str(document.get('version'))[:20]}.")
    runs = document["runs"]
    if not runs:
        raise InvalidInput("The SARIF file holds no run, so nothing was scanned.")
    names = []
    for run in runs:
        driver = _mapping(_mapping(_mapping(run).get("tool")).get("driver"))
        name = driver.get("name")
        if not isinstance(name, str) or not name.strip():
            raise InvalidInput("Each SARIF run must name its tool: `tool.driver.name`.")
        if not isinstance(run.get("results"), list):
            raise InvalidInput(f"The run of {name[:60]} has no `results`: its scan did not end.")
        if any(_mapping(one).get("executionSuccessful") is False for one in _list(run.get("invocations"))):
            raise InvalidInput(f"{name[:60]} says of itself that its scan failed.")
        names.append(name)
    return _scan(", ".join(dict.fromkeys(names)), "SARIF", (one for run in runs for one in _results(run)))


def _results(run: dict[str, Any]) -> Iterator[str]:
    tool = run["tool"]
    components = [tool["driver"], *(_mapping(one) for one in _list(tool.get("extensions")))]
    listed = [[_mapping(rule) for rule in _list(component.get("rules"))] for component in components]
    named = {rule["id"]: rule for rules in listed for rule in rules if isinstance(rule.get("id"), str)}
    for given in run["results"]:
        result = _mapping(given)
        # what passed, or was gone since the run before, is no finding
        if result.get("kind", "fail") != "fail" or result.get("baselineState") == "absent":
            continue
        rule = _rule(result, listed, named)
        severity = _graded(result, rule)
        if severity:
            yield severity


def _rule(result: dict[str, Any], listed: list[list[dict[str, Any]]], named: dict[str, Any]) -> dict[str, Any]:
    """Return the rule that a result names by id, or by its place in a component's list; empty when it names none."""
    reference = _mapping(result.get("rule"))
    for key in (result.get("ruleId"), reference.get("id")):
        if isinstance(key, str):
            # `CA1000/1` is a result of the rule `CA1000`
            found = named.get(key) or named.get(key.partition("/")[0])
            if found:
                return _mapping(found)
    component = _mapping(reference.get("toolComponent")).get("index")
    place = component + 1 if _index(component) else 0
    for index in (result.get("ruleIndex"), reference.get("index")):
        if _index(index) and place < len(listed) and index < len(listed[place]):
            return listed[place][index]
    return {}


def _graded(result: dict[str, Any], rule: dict[str, Any]) -> str:
    """Return how grave a result is; empty when it is of level none."""
    for holder in (result, rule):
        score = _score(_mapping(holder.get("properties")).get("security-severity"))
        if score is not None:
            return _by_score(score)
    level = result.get("level") or _mapping(rule.get("defaultConfiguration")).get("level") or "warning"
    return "" if level == "none" else LEVELS.get(str(level), UNKNOWN)


# ---- CycloneDX ----


def _cyclonedx(document: dict[str, Any]) -> Scan:
    found = document.get("vulnerabilities")
    if not isinstance(found, list):
        raise InvalidInput("The CycloneDX file lists parts but no `vulnerabilities`, so it is no scan.")
    tools = _mapping(document.get("metadata")).get("tools")
    # a list until 1.4, an object of components and services since
    listed = tools if isinstance(tools, list) else _list(_mapping(tools).get("components"))
    names = [name for one in listed if isinstance(name := _mapping(one).get("name"), str)]
    return _scan(", ".join(names), "CycloneDX", (_worst(_mapping(one)) for one in found if not _mended(_mapping(one))))


def _mended(vulnerability: dict[str, Any]) -> bool:
    return _mapping(vulnerability.get("analysis")).get("state") in MENDED


def _worst(vulnerability: dict[str, Any]) -> str:
    """Return the gravest of its ratings: who rates it lower may be wrong."""
    found = {_rated(_mapping(one)) for one in _list(vulnerability.get("ratings"))}
    return next((one for one in SEVERITIES if one in found), UNKNOWN)


def _rated(rating: dict[str, Any]) -> str:
    said = str(rating.get("severity", "")).lower()
    if said in SEVERITIES and said != UNKNOWN:
        return said
    if said in ("info", "none"):
        return LOW
    score = _score(rating.get("score")) if str(rating.get("method", "")).startswith("CVSS") else None
    return UNKNOWN if score is None else _by_score(score)


# ---- both ----


def _by_score(score: float) -> str:
    return next((severity for bound, severity in AT_LEAST if score >= bound), LOW)


def _score(value: Any) -> float | None:
    """Return a score from 0 to 10, also where it is written as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        score = float(value)
    except (ValueError, OverflowError):
        return None
    return score if 0 <= score <= 10 else None


def _index(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
