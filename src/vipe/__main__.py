"""`python -m vipe` is the command line."""

from vipe.cli import main

if __name__ == "__main__":
    main()
