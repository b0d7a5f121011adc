import sys

from orpheus.evaluate.cli import main

sys.exit(main())
