import sys

from orpheus.common import missing

missing.from_here_on()  # what is imported next may need packages

from orpheus.export.cli import main  # noqa: E402

sys.exit(main())
