"""`python -m lit_nas` is `lit-nas`."""

import sys

from lit_nas.cli import main

if __name__ == "__main__":
    sys.exit(main())
