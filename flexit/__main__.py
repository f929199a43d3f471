"""``python -m flexit`` is the command ``flexit``."""

from flexit.cli import main

if __name__ == "__main__":
    main()
