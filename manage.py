#!/usr/bin/env python
"""The command line. What starts servers of its own runs before Django is configured."""

import os
import sys


def main() -> int:
    """Dispatch `up`, `restore` and `bench faults`; everything else is Django's."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hawkops.settings")
    if sys.argv[1:2] == ["up"]:
        from hawkops.embedded import up

        return up.main(sys.argv[2:])
    if sys.argv[1:3] == ["bench", "faults"]:
        from hawkops.bench.faults import command

        return command.main(sys.argv[3:])
    if sys.argv[1:2] == ["restore"]:
        from hawkops.embedded import restore

        return restore.main(sys.argv[2:])
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
