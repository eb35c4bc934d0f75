"""``python -m pulse_server`` is ``pulse``."""

from pulse_server.cli import main

if __name__ == "__main__":
    main()
