"""What can go wrong in the lab for reasons outside the program."""

from xfrmctl.model.errors import XfrmctlError


class LabError(XfrmctlError):
    """The machine, or something the lab started, is not as the lab needs it; the message names the cure."""
