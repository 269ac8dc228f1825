"""``python -m sealwright.cli.daemon``."""

from sealwright.cli.daemon import main

main()
