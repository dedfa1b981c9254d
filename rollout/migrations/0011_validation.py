"""The clock of each phase's validation."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rollout', '0010_experiments'),
    ]

    operations = [
        migrations.CreateModel(
            name='Validation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('began_at', models.DateTimeField()),
                ('since', models.DateTimeField(null=True)),
                ('live_seconds', models.IntegerField(default=0)),
                ('last_data_at', models.DateTimeField(null=True)),
                ('counted_at', models.DateTimeField()),
                ('paused_since', models.DateTimeField(null=True)),
                ('done_at', models.DateTimeField(null=True)),
                ('concluding_at', models.DateTimeField(null=True)),
                ('restarts', models.IntegerField(default=0)),
                ('because', models.CharField(blank=True, max_length=200)),
                ('address', models.CharField(blank=True, max_length=300)),
                ('lasted_seconds', models.IntegerField(default=0)),
                ('lasted_done_seconds', models.IntegerField(null=True)),
                ('run', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='validation', to='rollout.phaserun')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('done_at__isnull', True), ('since__isnull', False), _connector='OR'), name='rollout_validation_done_has_begun')],
            },
        ),
    ]
