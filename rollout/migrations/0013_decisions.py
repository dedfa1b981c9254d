"""Decisions after phases, kept for good."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rollout', '0012_guardrails'),
    ]

    operations = [
        migrations.CreateModel(
            name='PhaseDecision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.SmallIntegerField()),
                ('recommendation', models.CharField(choices=[('PROCEED', 'PROCEED'), ('HOLD', 'HOLD'), ('ROLL_BACK', 'ROLL_BACK')], max_length=10)),
                ('decided', models.CharField(choices=[('go', 'go'), ('no-go', 'no-go'), ('roll back', 'roll back')], max_length=10)),
                ('disagrees', models.CharField(blank=True, max_length=500)),
                ('reason', models.CharField(max_length=300)),
                ('by', models.CharField(max_length=150)),
                ('reference', models.CharField(max_length=60)),
                ('at', models.DateTimeField()),
                ('bundle_text', models.TextField()),
                ('digest', models.CharField(max_length=64)),
                ('proposal', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to='rollout.proposal')),
                ('release', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='rollout.release')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='rollout.phaserun')),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('decided__in', ['go', 'no-go', 'roll back'])), name='rollout_decision_decided'), models.CheckConstraint(condition=models.Q(('recommendation__in', ['PROCEED', 'HOLD', 'ROLL_BACK'])), name='rollout_decision_recommendation'), models.CheckConstraint(condition=models.Q(models.Q(('decided', 'go'), _negated=True), ('recommendation', 'PROCEED'), models.Q(('disagrees', ''), _negated=True), _connector='OR'), name='rollout_decision_disagrees')],
            },
        ),
    ]
