"""`python -m txdicom` is the `txdicom` command."""

import sys

from txdicom.cli.main import main

sys.exit(main())
