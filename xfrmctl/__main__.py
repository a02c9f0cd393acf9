"""``python -m xfrmctl``."""

from xfrmctl.cli.main import main

main()
