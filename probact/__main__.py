"""The command line: ``python -m probact``, ``probact``, ``python cli.py``."""

import sys
from typing import NoReturn

from probact.support.extras import remedy


def main() -> NoReturn:
    """Run a command; a library of an extra that is missing becomes one line on stderr and exit code 2."""
    try:
        from probact.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        if (message := remedy(error)) is None:
            raise
        print(f"Error: {message}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
