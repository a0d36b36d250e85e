"""``python -m fedops.cli``: the command line of this very interpreter, whatever is on PATH."""

from fedops.cli.main import main

if __name__ == "__main__":
    main()
