"""What was folded when an environment had too many series."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("monitoring", "0014_device_weights"),
    ]

    operations = [
        migrations.CreateModel(
            name='FoldedSeries',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', models.CharField(max_length=20)),
                ('digest', models.BinaryField(max_length=16)),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('environment', 'digest'), name='monitoring_folded_series_once')],
            },
        ),
    ]
