"""Which operations of a migration break the version before, which runs on until it is replaced: it knows none of them."""

import re
from collections.abc import Iterator

from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, Field, GeneratedField, ManyToManyField

from tests.upgrade import LAST

GONE = (
    operations.RemoveField,
    operations.DeleteModel,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)
# of SQL written by hand: what the version before would miss, or be refused for
BREAKING = re.compile(
    r"DROP\s+(TABLE|COLUMN|VIEW)|\bRENAME\b|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\S+\s+(SET\s+DATA\s+)?TYPE"
    r"|ADD\s+COLUMN\s+(?![^;]*(DEFAULT|GENERATED))[^;]*NOT\s+NULL",
    re.IGNORECASE,
)


def breaking() -> Iterator[tuple[str, str]]:
    """Give each breaking operation since the last release: `app.0008_name`, and what it does."""
    loader = MigrationLoader(None)
    since = [
        migration
        for (app, name), migration in sorted(loader.disk_migrations.items())
        if app in LAST and int(name[:4]) > LAST[app]
    ]
    made = {
        (migration.app_label, operation.name.lower())
        for migration in since
        for operation in migration.operations
        if isinstance(operation, operations.CreateModel)
    }
    for migration in since:
        before = loader.project_state((migration.app_label, migration.name), at_end=False)
        for found in of(migration, before, made):
            yield f"{migration.app_label}.{migration.name}", found


def of(migration: Migration, state: ProjectState, made: set[tuple[str, str]]) -> Iterator[str]:
    """Give what in a migration breaks; of models that were made since the last release nothing does."""
    for operation in migration.operations:
        known = getattr(operation, "model_name", getattr(operation, "old_name", getattr(operation, "name", "")))
        if (migration.app_label, str(known).lower()) not in made and (
            why := _why(operation, state, migration.app_label)
        ):
            yield why
        operation.state_forwards(migration.app_label, state)


def _why(operation: Operation, state: ProjectState, app: str) -> str:
    if isinstance(operation, GONE):
        return operation.describe()
    if isinstance(operation, operations.AddField) and _must_be_given(operation.field):
        return f"{operation.describe()}: the version before leaves it out, and it has no db_default"
    if isinstance(operation, operations.AlterField):
        old = state.models[app, operation.model_name_lower].fields[operation.name]
        return _narrower(old, operation.field) and f"{operation.describe()}: {_narrower(old, operation.field)}"
    if isinstance(operation, operations.AddConstraint):
        return f"{operation.describe()}: it may refuse what the version before writes"
    if isinstance(operation, operations.SeparateDatabaseAndState):
        found = (_why(one, state, app) for one in operation.database_operations)
        return next(filter(None, found), "")
    if isinstance(operation, operations.RunSQL):
        match = BREAKING.search(str(operation.sql))
        return f"SQL: {match[0]}" if match else ""
    return ""


def _must_be_given(field: Field) -> bool:  # type: ignore[type-arg]
    stored = not isinstance(field, ManyToManyField | GeneratedField)
    return stored and not field.null and field.db_default is NOT_PROVIDED


def _narrower(old: Field, new: Field) -> str:  # type: ignore[type-arg]
    if old.null and not new.null:
        return "it may be empty no more"
    if (old.get_internal_type(), old.unique) != (new.get_internal_type(), new.unique):
        return "it is of another kind"
    if new.max_length is not None and (old.max_length is None or old.max_length > new.max_length):
        return "it holds less"
    return ""
