"""`wanctl` and `python -m wanctl`, also run by `accelerate launch -m wanctl` and `torchrun`."""

import os


def main() -> None:
    """Run the command line; Ctrl-C ends it with 130 also while modules are imported."""
    try:
        from wanctl.cli.main import main as run  # noqa: PLC0415  (takes 0.3 s)

        run()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    main()
