import sys

from orpheus.export.cli import main

sys.exit(main())
