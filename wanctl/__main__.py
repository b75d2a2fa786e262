"""`python -m wanctl`, also run by `accelerate launch -m wanctl` and `torchrun -m wanctl`."""

from wanctl.cli.main import main

main()
