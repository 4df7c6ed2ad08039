"""`python -m labkit`: the command where the folder of scripts is not on the path, as often on Windows."""

from labkit.cli import main

if __name__ == "__main__":
    main()
