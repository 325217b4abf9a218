"""``python -m atdc``: the command line."""

from atdc.cli import main

if __name__ == "__main__":
    main()
