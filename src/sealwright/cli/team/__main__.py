"""``python -m sealwright.cli.team``."""

from sealwright.cli.team import main

main()
