"""`python -m wanctl`, also run by `accelerate launch -m wanctl` and `torchrun -m wanctl`."""

import sys

try:
    from wanctl.cli.main import main

    main()
except KeyboardInterrupt:  # Ctrl-C while modules are imported, before or after the command
    sys.exit(130)
