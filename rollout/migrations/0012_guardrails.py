"""Guardrails of phases, and the steps as they were done."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rollout', '0011_validation'),
    ]

    operations = [
        migrations.AddField(
            model_name='phaserun',
            name='classes',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='phaserun',
            name='served',
            field=models.JSONField(default=list),
        ),
        migrations.CreateModel(
            name='GuardrailState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=60)),
                ('verdict', models.CharField(max_length=20)),
                ('sentence', models.TextField()),
                ('lines', models.JSONField(default=list)),
                ('progress', models.JSONField(null=True)),
                ('exclusion', models.JSONField(null=True)),
                ('looked_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
                ('acted_at', models.DateTimeField(null=True)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='guardrails', to='rollout.phaserun')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('run', 'key'), name='rollout_guardrail_once')],
            },
        ),
    ]
