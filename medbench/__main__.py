"""``python -m medbench``: signals are heard before anything else is imported."""

import sys

from medbench.signals import ends_in_order


def main() -> int:
    """Run the command line of this process; its exit status."""
    return ends_in_order(_command)


def _command() -> int:
    from medbench.cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
