"""Target groups: made, filled, renamed and deleted. Each change is a revision, for devices may get another answer."""

from collections.abc import Iterable
from hashlib import sha256

from hawkops.core import clock
from hawkops.core.environments import Environment
from hawkops.core.errors import Conflict, InvalidInput, NotFound
from hawkops.history.actors import Actor
from hawkops.history.models import HistoryEntry
from hawkops.history.services import change
from rollout.domain.drills import STANDING
from rollout.domain.targeting import targeting_key_checked
from rollout.models import Drill, Flag, GroupMember, Proposal, TargetGroup
from rollout.selectors import flags as selectors
from rollout.services.locking import as_read, environment_locked, next_revision, reason_given
from rollout.services.raising import Authority, admit

# the runbook's audiences
SEEDS = {
    "internal_testers": "Internal testers",
    "beta_testers": "Beta testers",
    "high_engagement": "Devices that are used most",
}
MEMBERS_MOST = 100_000
BATCH = 5_000


def groups_seed(*, actor: Actor) -> int:
    """Make the runbook's groups, empty, where they are missing; return how many."""
    made = 0
    for environment in Environment:
        present = set(TargetGroup.objects.filter(environment=environment.value).values_list("key", flat=True))
        for key, title in SEEDS.items():
            if key not in present:
                group_create(environment=environment.value, key=key, title=title, actor=actor, reason="Installation")
                made += 1
    return made


def group_create(
    *, environment: str, key: str, title: str, actor: Actor, reason: str, request_id: str = ""
) -> TargetGroup:
    """Make an empty group."""
    key, title = key.strip(), title.strip()
    if key == "create":
        raise InvalidInput("A group can't be called create: its page could not be opened.")
    if not key or len(key) > 60 or not key.replace("_", "a").replace("-", "a").isalnum() or key != key.lower():
        raise InvalidInput("A group's key has 1 to 60 small letters, digits, dashes and underscores.")
    if not key.isascii() or not title or len(title) > 120 or not title.isprintable():
        raise InvalidInput("Give the group a key in ASCII and a title of at most 120 characters.")
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state = environment_locked(environment)
        if TargetGroup.objects.filter(environment=environment, key=key).exists():
            raise InvalidInput(f"There is a group {key} already.")
        group = TargetGroup.objects.create(
            environment=environment, key=key, title=title, revision=next_revision(state), changed_at=clock.now()
        )
        this.record("group.created", subject=f"group:{key}", after=_state(group, 0, ""))
    return group


def group_members_set(
    *,
    environment: str,
    key: str,
    members: Iterable[str],
    expected_revision: int,
    actor: Actor,
    reason: str,
    request_id: str = "",
    authority: Authority | None = None,
) -> HistoryEntry | None:
    """Put exactly these devices into a group; None when it holds them already.

    The history keeps how many they are and the digest of their sorted keys, not who: it forgets nobody. Raises Conflict
    when the group changed after `expected_revision`.
    """
    wanted = {targeting_key_checked(member) for member in members}
    if len(wanted) > MEMBERS_MOST:
        raise InvalidInput(f"A group has at most {MEMBERS_MOST} devices; describe more by a rule.")
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state = environment_locked(environment)
        group = _locked(environment, key)
        as_read(key, group.revision, expected_revision)
        present = set(group.members.values_list("targeting_key", flat=True))
        if present == wanted:
            return None
        admit(
            environment,
            dict.fromkeys(
                _raised(environment, key, joins=bool(wanted - present), leaves=bool(present - wanted)), False
            ),
            authority or Authority.of(actor),
        )
        before = _state(group, len(present), digest(present))
        gone = sorted(present - wanted)
        for start in range(0, len(gone), BATCH):
            group.members.filter(targeting_key__in=gone[start : start + BATCH]).delete()
        GroupMember.objects.bulk_create(
            [GroupMember(group=group, targeting_key=member) for member in sorted(wanted - present)], batch_size=BATCH
        )
        group.revision, group.changed_at = next_revision(state), clock.now()
        group.save(update_fields=["revision", "changed_at"])
        this.record(
            "group.members_changed",
            subject=f"group:{key}",
            before=before,
            after={
                **_state(group, len(wanted), digest(wanted)),
                "added": len(wanted - present),
                "removed": len(gone),
            },
        )
    return this.entry


def group_delete(*, environment: str, key: str, actor: Actor, reason: str, request_id: str = "") -> HistoryEntry | None:
    """Delete a group that no rule names."""
    with change(actor=actor, environment=environment, reason=reason_given(reason), request_id=request_id) as this:
        state = environment_locked(environment)
        group = _locked(environment, key)
        rules = selectors.live(environment).values_list("key", "rules")
        using = [flag for flag, documents in rules if any(one["group"] == key for one in documents)]
        if using:
            raise InvalidInput(f"{key} is named by rules of {', '.join(using)}; change those first.")
        if Drill.objects.filter(environment=environment, group=key, state__in=STANDING).exists():
            raise Conflict(f"A drill is under way on {key}. It ends by itself within minutes.")
        present = set(group.members.values_list("targeting_key", flat=True))
        this.record("group.deleted", subject=f"group:{key}", before=_state(group, len(present), digest(present)))
        group.delete()
        next_revision(state)
    return this.entry


def device_erase(environment: str, device_id: str) -> int:
    """Take a device out of every group and from every flag's pinned devices; return how many places that were.

    Gateways follow, as the environment's revision grows; the history of the erasure is its caller's.
    """
    _proposals_forget(environment, device_id)
    in_groups = GroupMember.objects.filter(group__environment=environment, targeting_key=device_id)
    if not in_groups.exists() and not Flag.objects.filter(environment=environment, pinned__has_key=device_id).exists():
        return 0
    state = environment_locked(environment)
    groups = list(TargetGroup.objects.filter(environment=environment, members__targeting_key=device_id))
    flags = list(
        Flag.objects.select_for_update(no_key=True)
        .filter(environment=environment, pinned__has_key=device_id)
        .order_by("key")
    )
    revision = next_revision(state)
    for group in groups:
        group.members.filter(targeting_key=device_id).delete()
        group.revision, group.changed_at = revision, clock.now()
        group.save(update_fields=["revision", "changed_at"])
    for flag in flags:
        del flag.pinned[device_id]
        flag.revision, flag.changed_at = revision, clock.now()
        flag.save(update_fields=["pinned", "revision", "changed_at"])
    return len(groups) + len(flags)


def raised_by(environment: str, key: str, members: Iterable[str]) -> list[str]:
    """Return the flags that exactly these members would raise."""
    group = TargetGroup.objects.filter(environment=environment, key=key).first()
    present = set(group.members.values_list("targeting_key", flat=True)) if group else set()
    wanted = set(members)
    return _raised(environment, key, joins=bool(wanted - present), leaves=bool(present - wanted))


def _raised(environment: str, key: str, *, joins: bool, leaves: bool) -> list[str]:
    """Return the flags that other members would raise: more who get an unsafe value, or fewer who are kept from it."""
    found = []
    for flag in selectors.live(environment).order_by("key"):
        rules = [rule for rule in flag.domain().rules if rule.group == key and rule.thousandths]
        unsafe = [rule.variant != flag.safe_variant for rule in rules]
        if (joins and any(unsafe)) or (leaves and not all(unsafe)):
            found.append(flag.key)
    return found


def _proposals_forget(environment: str, device_id: str) -> None:
    """Take a device out of what was ever proposed; what was approved of the others stands."""
    for one in Proposal.objects.select_for_update(no_key=True).filter(
        environment=environment, kind__in=["group.members", "flag.rules"]
    ):
        payload = dict(one.payload)
        if device_id in payload.get("members", ()):
            payload["members"] = [member for member in payload["members"] if member != device_id]
        if device_id in payload.get("pinned", {}):
            payload["pinned"] = {key: value for key, value in payload["pinned"].items() if key != device_id}
        if payload != one.payload:
            one.payload = payload
            one.save(update_fields=["payload"])


def digest(members: Iterable[str]) -> str:
    """Return what names a membership without naming anybody: SHA-256 of the sorted keys, one on a line."""
    return sha256("\n".join(sorted(members)).encode()).hexdigest()


def _locked(environment: str, key: str) -> TargetGroup:
    found = TargetGroup.objects.select_for_update(no_key=True).filter(environment=environment, key=key).first()
    if found is None:
        raise NotFound(f"There is no group {key!r} in {environment}.")
    return found


def _state(group: TargetGroup, members: int, of: str) -> dict[str, object]:
    return {"title": group.title, "members": members, "digest": of, "revision": group.revision}
