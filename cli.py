"""``python cli.py``: the command line of probact (also installed as ``probact``)."""

from probact.cli.main import main

if __name__ == "__main__":
    main()
