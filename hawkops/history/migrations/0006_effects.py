"""What an entry led to, in its order: the index of causes knows the entries' numbers, and leaves out those without one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("history", "0005_search")]

    operations = [
        migrations.AlterField(
            model_name="historyentry",
            name="cause",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="effects",
                to="history.historyentry",
            ),
        ),
        migrations.AddIndex(
            model_name="historyentry",
            index=models.Index(
                condition=models.Q(("cause__isnull", False)), fields=["cause", "seq"], name="history_cause_seq"
            ),
        ),
    ]
