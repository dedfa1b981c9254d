"""Who may enter: people with roles, devices with keys, programs with tokens. Secrets are kept as hashes only."""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models

from hawkops.core import clock
from hawkops.core.access import Role, Scope
from hawkops.core.environments import Environment
from hawkops.core.teams import Team

# whose roles come from an opened code alone
BREAK_GLASS = "break-glass"
BREAK_GLASS_ROLES = frozenset({Role.OPERATOR, Role.ADMIN})


class User(AbstractUser):
    """A person. Rights come from role grants, never from Django's staff flags."""

    @property
    def breaks_glass(self) -> bool:
        """Whether this is nobody in person, but whoever opened a sealed code."""
        return bool(self.username == BREAK_GLASS)

    def roles_in(self, environment: str) -> frozenset[Role]:
        """The roles held in an environment; the empty string asks for roles held anywhere. One query a request."""
        if self.breaks_glass:
            if not hasattr(self, "_open"):
                self._open = BreakGlassCode.objects.filter(open_until__gt=clock.now()).exists()
            return BREAK_GLASS_ROLES if self._open else frozenset()
        if not hasattr(self, "_grants"):
            self._grants = list(self.grants.values_list("role", "environment"))
        return frozenset(Role(role) for role, where in self._grants if not environment or where in ("", environment))

    def teams(self) -> frozenset[Team]:
        """The teams for which this person may sign."""
        return frozenset(Team(team) for team in self.memberships.values_list("team", flat=True))


class TeamMembership(models.Model):
    """A person signs for a team, whatever the environment."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.CharField(max_length=20, choices=[(team.value, team.value) for team in Team])

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "team"], name="accounts_team_once")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.team}"


class RoleGrant(models.Model):
    """One role of one person, in one environment or (empty) in all."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    environment = models.CharField(max_length=20, blank=True, choices=[(e.value, e.value) for e in Environment])

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "role", "environment"], name="accounts_grant_once")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} {self.environment or 'everywhere'}"


class LoginLink(models.Model):
    """A link that signs one person in once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link {self.pk}"


class DeviceKey(models.Model):
    """A key that devices of one environment present. `key_hash` is the SHA-256 of a 192-bit random key.

    `last_used_at` is exact to some minutes only; one without `expires_at` lives until it is revoked.
    """

    environment = models.CharField(max_length=20, choices=[(e.value, e.value) for e in Environment])
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=24)
    key_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["environment", "-created_at"]

    def __str__(self) -> str:
        return f"{self.environment} {self.name}"

    @property
    def live(self) -> bool:
        """Whether devices may still use it."""
        return self.revoked_at is None and (self.expires_at is None or clock.now() < self.expires_at)


class ApiToken(models.Model):
    """A token that a program presents at the API, with scopes in one environment or (empty) in all.

    `token_hash` is the SHA-256 of a 192-bit random token; `last_used_at` is exact to some minutes only.
    """

    environment = models.CharField(max_length=20, blank=True, choices=[(e.value, e.value) for e in Environment])
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=24)
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=[(scope.value, scope.value) for scope in Scope]))
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["environment", "name", "-created_at"]

    def __str__(self) -> str:
        return f"{self.environment or 'everywhere'} {self.name}"

    @property
    def live(self) -> bool:
        """Whether it may still be used."""
        return self.revoked_at is None and clock.now() < self.expires_at

    def may(self, environment: str, scope: Scope) -> bool:
        """Say whether it has a scope in an environment; the empty string asks for any environment."""
        return scope.value in self.scopes and (not environment or self.environment in ("", environment))


class EnrolledPhone(models.Model):
    """A browser that may still kill in one environment when its session has expired, and do nothing else.

    `secret_hash` is the SHA-256 of a 192-bit random secret in its cookie.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="phones")
    environment = models.CharField(max_length=20, choices=[(e.value, e.value) for e in Environment])
    name = models.CharField(max_length=40)
    secret_hash = models.CharField(max_length=64, unique=True)
    enrolled_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-enrolled_at"]

    def __str__(self) -> str:
        return f"{self.environment} {self.name}"

    @property
    def subject(self) -> str:
        """What the history calls it."""
        return f"phone:{self.pk}"

    @property
    def live(self) -> bool:
        """Whether it is neither revoked nor too old. What its person may do by now is asked at each use."""
        return self.revoked_at is None and clock.now() < self.expires_at


class BreakGlassCode(models.Model):
    """A sealed code that opens the console once when nobody else can sign in. `made_by` and `opened_by` are references.

    `code_hash` is the SHA-256 of 125 random bits; `open_until` ends what it opened.
    """

    code_hash = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    made_by = models.CharField(max_length=80)
    opened_at = models.DateTimeField(null=True)
    open_until = models.DateTimeField(null=True, db_index=True)
    reason = models.TextField(blank=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-made_at"]

    def __str__(self) -> str:
        return f"code {self.pk}"

    @property
    def sealed(self) -> bool:
        """Whether it still opens."""
        return self.opened_at is None and self.revoked_at is None


class KeyedAnswer(models.Model):
    """What a caller was answered to a request with an `Idempotency-Key`; `status` is None while it is under way."""

    caller = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    # of method, address and body
    request_digest = models.CharField(max_length=64)
    status = models.SmallIntegerField(null=True)
    content = models.BinaryField(default=bytes)
    location = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["caller", "key"], name="accounts_keyed_answer_once")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"


class SecretTries(models.Model):
    """Wrong passwords lately, from one address for one name, or for any. Kept here since every process must know.

    `key` is a keyed hash: what people type for a name is now and then a password. `count` includes tries under way.
    """

    key = models.CharField(max_length=64, unique=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(db_index=True)
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.count} tries"
