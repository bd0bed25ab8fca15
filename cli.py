"""``python cli.py``: the command line of probact (also installed as ``probact``)."""

from probact.__main__ import main

if __name__ == "__main__":
    main()
