"""Legal holds on people."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0010_break_glass'),
    ]

    operations = [
        migrations.CreateModel(
            name='LegalHold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=60)),
                ('reason', models.CharField(max_length=300)),
                ('by', models.CharField(max_length=150)),
                ('reference', models.CharField(max_length=60)),
                ('at', models.DateTimeField()),
                ('lifted_by', models.CharField(blank=True, max_length=150)),
                ('lifted_reference', models.CharField(blank=True, max_length=60)),
                ('lifted_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('lifted_at', None)), fields=('subject',), name='accounts_one_hold_stands'), models.CheckConstraint(condition=models.Q(('lifted_at', None), models.Q(('lifted_reference', models.F('reference')), _negated=True), _connector='OR'), name='accounts_hold_lifted_by_another')],
            },
        ),
    ]
