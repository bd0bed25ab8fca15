"""``python -m probact``: the command line."""

from probact.cli.main import main

if __name__ == "__main__":
    main()
