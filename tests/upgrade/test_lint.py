"""Two versions run beside each other while one is replaced: no migration takes from the old one what it uses."""

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState

from tests.upgrade.lint import breaking, of

# (migration, what it does) → why it is all right nevertheless
EXCEPTIONS: dict[tuple[str, str], str] = {}


def test_migrations__since_the_last_release__leave_the_version_before_at_work() -> None:
    found = set(breaking())
    assert found - set(EXCEPTIONS) == set(), (
        "take it away one release later, or say in EXCEPTIONS why it breaks nothing"
    )
    assert set(EXCEPTIONS) - found == set(), "these exceptions are needed no more"


def text(**given: Any) -> Any:
    return models.CharField(**{"max_length": 20, **given})


@pytest.mark.parametrize(
    "operation,breaks",
    [
        (migrations.RemoveField("thing", "name"), True),
        (migrations.RenameField("thing", "name", "title"), True),
        (migrations.DeleteModel("Thing"), True),
        (migrations.RenameModel("Thing", "Other"), True),
        (migrations.AlterModelTable("Thing", "other"), True),
        (migrations.AddField("thing", "more", text()), True),
        (migrations.AddField("thing", "more", text(default="x")), True),
        (migrations.AddField("thing", "more", text(db_default="x")), False),
        (migrations.AddField("thing", "more", text(null=True)), False),
        (migrations.AlterField("thing", "name", text(null=True)), False),
        (migrations.AlterField("thing", "name", text(max_length=30, null=True)), False),
        (migrations.AlterField("thing", "name", text(max_length=10, null=True)), True),
        (migrations.AlterField("thing", "name", text()), True),
        (migrations.AlterField("thing", "name", models.IntegerField(null=True)), True),
        (migrations.AddConstraint("thing", models.UniqueConstraint(fields=["name"], name="once")), True),
        (migrations.AddIndex("thing", models.Index(fields=["name"], name="by_name")), False),
        (migrations.RunSQL("ALTER TABLE thing DROP COLUMN name"), True),
        (migrations.RunSQL("ALTER TABLE thing ADD COLUMN n integer NOT NULL"), True),
        (migrations.RunSQL("ALTER TABLE thing ADD COLUMN n integer NOT NULL DEFAULT 0"), False),
        (migrations.RunSQL("UPDATE thing SET name = ''"), False),
        (migrations.AddField("fresh", "more", text()), False),
    ],
)
def test_operation__that_the_version_before_would_miss__is_named(operation: Any, breaks: bool) -> None:
    state = ProjectState()
    for name in ("Thing", "Fresh"):
        state.add_model(
            ModelState("rollout", name, [("id", models.BigAutoField(primary_key=True)), ("name", text(null=True))])
        )
    migration = type("More", (migrations.Migration,), {"operations": [operation]})("0020_more", "rollout")
    assert bool(list(of(migration, state, {("rollout", "fresh")}))) == breaks
