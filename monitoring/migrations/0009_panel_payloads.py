"""A row of the panel's reports is a payload, not a series of it; what was not merged yet is taken along."""

from django.db import migrations, models

MERGE = """
INSERT INTO monitoring_panelhour AS p (environment, device_id, hour_at, metric, backend_actual, variant, outcome,
                                       device_class, simulated, count, total, low, high)
SELECT environment, device_id, hour_at, metric, backend_actual, variant, outcome,
       max(device_class), bool_or(simulated), sum(count), sum(total), min(low), max(high)
  FROM monitoring_panelreport GROUP BY environment, device_id, hour_at, metric, backend_actual, variant, outcome
ON CONFLICT (environment, device_id, hour_at, metric, backend_actual, variant, outcome) DO UPDATE SET
  count = p.count + excluded.count, total = p.total + excluded.total,
  low = least(p.low, excluded.low), high = greatest(p.high, excluded.high)
"""


class Migration(migrations.Migration):
    """Merge the old rows, then give the table its new columns."""

    dependencies = [("monitoring", "0008_panel_reports")]

    operations = [
        migrations.RunSQL(MERGE, migrations.RunSQL.noop),
        migrations.DeleteModel(name="PanelReport"),
        migrations.CreateModel(
            name="PanelReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("environment", models.CharField(max_length=20)),
                ("device_id", models.CharField(max_length=200)),
                ("device_class", models.CharField(max_length=80)),
                ("simulated", models.BooleanField()),
                ("observed", models.TextField()),
            ],
        ),
    ]
