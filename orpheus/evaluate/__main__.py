import sys

from orpheus.evaluate.cli.cli import main

sys.exit(main())
