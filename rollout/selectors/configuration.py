"""The settings an environment runs with, read back from process and database. Secrets are not said."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings

from monitoring.selectors import criteria
from rollout.selectors import flags

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True)
class Setting:
    """One setting as it is in force. `group` is the heading it stands under."""

    group: str
    name: str
    value: str


@dataclass(frozen=True)
class Configuration:
    """All settings of an environment at one moment."""

    settings: tuple[Setting, ...]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of everything that is said here."""
        return hashlib.sha256(json.dumps(self.said, sort_keys=True).encode()).hexdigest()

    @property
    def said(self) -> dict[str, str]:
        """Value by name, to be kept with a person's word."""
        return {one.name: one.value for one in self.settings}

    def changed_since(self, said: dict[str, str]) -> list[str]:
        """Return the names of what is not as it was said then."""
        now = self.said
        return sorted(name for name in {**said, **now} if said.get(name) != now.get(name))


def configuration(environment: str) -> Configuration:
    """Return the settings that are in force. Percentages, rules and overrides of flags are the rollout's and left out."""
    stored = criteria.stored()
    documents = json.dumps([[one.key, one.document] for one in stored], sort_keys=True)
    rules = hashlib.sha256(documents.encode()).hexdigest()
    found = [
        *(Setting("Installation", name, value) for name, value in _installation()),
        Setting("Criteria", "criteria", f"{len(stored)}, sha256 {rules[:16]}" if stored else "none"),
    ]
    for flag in flags.flags(environment):
        needs = f", needs {', '.join(flag.requires)}" if flag.requires else ""
        value = (
            f"{flag.type}, on = {_shown(flag.on)}, off = {_shown(flag.off)}, safe = {flag.safe_variant}, "
            f"lease {flag.lease_seconds} s{needs}"
        )
        found.append(Setting("Flags", flag.key, value))
    return Configuration((Setting("Installation", "environment", environment), *found))


def _installation() -> list[tuple[str, str]]:
    mail = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}" if settings.EMAIL_HOST else ""
    return [
        ("CONSOLE_URL", _place(settings.CONSOLE_URL)),
        ("GATEWAY_URL", _place(settings.GATEWAY_URL)),
        ("ALLOWED_HOSTS", ", ".join(settings.ALLOWED_HOSTS)),
        ("HAWKOPS_DEBUG", "on" if settings.DEBUG else "off"),
        ("cookies over HTTPS only", "yes" if settings.SESSION_COOKIE_SECURE else "no"),
        ("CLOUD_AI_URL", _place(settings.CLOUD_AI_URL)),
        ("LITERT_MODEL", _place(settings.LITERT_MODEL)),
        ("HAWKOPS_SCRIPTS_DIR", _place(str(settings.SCRIPTS_DIR))),
        ("LOG_APP_FILE", _place(settings.LOG_APP_FILE)),
        ("LOG_SECURITY_FILE", _place(settings.LOG_SECURITY_FILE)),
        ("TELEMETRY_KEY_POINTS_PER_SECOND", f"{settings.TELEMETRY_KEY_POINTS_PER_SECOND:g}"),
        ("TELEMETRY_FREE_DISK_PERCENT", f"{settings.TELEMETRY_FREE_DISK_PERCENT:g}"),
        ("TELEMETRY_DATABASE_GB", f"{settings.TELEMETRY_DATABASE_GB:g}"),
        ("mail server", mail or "not set"),
        ("SECURITY_EMAIL", _place(settings.SECURITY_EMAIL)),
        ("SLACK_WEBHOOK", _secret(settings.SLACK_WEBHOOK)),
        ("SECURITY_WEBHOOK", _secret(settings.SECURITY_WEBHOOK)),
        ("ALERTMANAGER_TOKEN", _secret(settings.ALERTMANAGER_TOKEN)),
        ("METRICS_TOKEN", _secret(settings.METRICS_TOKEN)),
    ]


def _place(value: str) -> str:
    """Show an address or a path without the credentials that may stand in it."""
    return CREDENTIALS.sub("•••@", str(value)) or "not set"


def _secret(value: str) -> str:
    return "set" if value else "not set"


def _shown(value: object) -> str:
    return json.dumps(value, sort_keys=True)
