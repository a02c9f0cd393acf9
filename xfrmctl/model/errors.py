"""The root of every error the program raises on purpose.

"We are wrong" is never one of these: a programming error is an ordinary Python exception and ends the step.
"""


class XfrmctlError(Exception):
    """Something outside the program is wrong, and the message says what and how to cure it.

    ``cause`` and ``cure`` are what is true of all messages of a class, where the message itself does not say it.
    ``docs/messages.md`` has every message with both (``tools/messages.py``).
    """

    cause: str = ""
    cure: str = ""


class UnusableInput(XfrmctlError):
    """What the operator has named cannot be used: the command ends with the status of wrong usage."""


class KernelRefusal(XfrmctlError):
    """The kernel refused a request.

    ``code`` is the positive errno; ``operation`` names what was asked ("install SA", "update policy").
    """

    cause = "the kernel did not take a request of ours"
    cure = "run it as root; `xfrmctl diagnose` names a module or an algorithm that the kernel lacks"

    def __init__(self, operation: str, code: int, detail: str) -> None:
        super().__init__(f"{operation}: {detail}")
        self.operation = operation
        self.code = code
        self.detail = detail
