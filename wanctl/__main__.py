"""`python -m wanctl`, which is also what `accelerate launch -m wanctl` runs."""

from wanctl.cli import main

main()
