"""``python -m xfrmctl.lab``: the lab's verbs without the rest of the command line."""

from xfrmctl.lab.app import app

app()
