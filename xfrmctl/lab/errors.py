"""What can go wrong in the lab for reasons outside the program."""

from xfrmctl.model.errors import XfrmctlError


class LabError(XfrmctlError):
    """The machine, or something the lab started, is not as the lab needs it; the message names the cure."""

    cause = "something that the lab needs is not there, or a program in it did not do its part"
    cure = (
        "tools/setup.sh lab installs what is missing (tools/setup.sh test the foreign daemons); where a program has "
        "failed, its own words end the message"
    )
