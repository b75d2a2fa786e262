"""`python -m wanctl`, which is also what `accelerate launch -m wanctl` runs."""

from wanctl.cli.main import main

main()
