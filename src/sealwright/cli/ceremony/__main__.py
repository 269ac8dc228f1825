"""``python -m sealwright.cli.ceremony``."""

from sealwright.cli.ceremony import main

main()
