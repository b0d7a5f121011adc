import sys

from orpheus.prepare.cli import main

sys.exit(main())
