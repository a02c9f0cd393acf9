"""The root of every error the program raises on purpose.

"We are wrong" is never one of these: a programming error is an ordinary Python exception and ends the step.
"""


class XfrmctlError(Exception):
    """Something outside the program is wrong, and the message says what and how to cure it."""


class UnusableInput(XfrmctlError):
    """What the operator has named cannot be used: the command ends with the status of wrong usage."""


class KernelRefusal(XfrmctlError):
    """The kernel refused a request.

    ``code`` is the positive errno; ``operation`` names what was asked ("install SA", "update policy").
    """

    def __init__(self, operation: str, code: int, detail: str) -> None:
        super().__init__(f"{operation}: {detail}")
        self.operation = operation
        self.code = code
        self.detail = detail
