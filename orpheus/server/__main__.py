"""python -m orpheus.server"""

import sys

if __name__ == "__main__":
    from orpheus.server.cli import main

    sys.exit(main())
