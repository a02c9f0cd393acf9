"""The SPD: puts and deletes policies of ours, and keeps their indexes, which are their mark.

The indexes are remembered from the last read or write. A policy that is to be replaced or deleted and is not
remembered makes the SPD be read again.
"""

from collections.abc import Sequence
from errno import EEXIST, EINTR, ENOENT

from xfrmctl.kernel.desired import Policy, PolicyKey
from xfrmctl.kernel.netlink import policy as messages
from xfrmctl.kernel.netlink.constants import NETLINK_XFRM, XFRM_POLICY
from xfrmctl.kernel.netlink.policy import KernelPolicy
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request
from xfrmctl.kernel.ownership import SPAN, index_for, index_number
from xfrmctl.kernel.plan import DeletePolicy, PolicyOperation, PutPolicy
from xfrmctl.kernel.refusal import refusal

_NUMBERS = SPAN >> 3


class Spd:
    """The policies of ours."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_XFRM)
        self._index: dict[PolicyKey, int] = {}
        self._used: set[int] = set()
        self._next = 0
        self._known = False

    @property
    def port(self) -> int:
        """The netlink port id through which policies are changed."""
        return self._socket.port

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> dict[PolicyKey, Policy]:
        """Every policy of ours. Raises KernelRefusal."""
        try:
            held = messages.policies_from(self._socket.dump(messages.dump_policies()))
        except OSError as error:
            raise refusal("dump policies", "SPD", NetlinkError(error.errno or EINTR)) from error
        self._index = {found.policy.key: found.index for found in held}
        self._used = {index_number(found.index) for found in held}
        self._known = True
        return {found.policy.key: found.policy for found in held}

    def apply(self, operations: Sequence[PolicyOperation]) -> list[tuple[PolicyOperation, str]]:
        """Carry out operations in order; gives those that failed and why. Raises KernelRefusal."""
        if not self._known or any(self._forgotten(operation) for operation in operations):
            self.read()
        sent = [(o, request) for o in operations if (request := self._request(o)) is not None]
        try:
            errors = self._socket.transact([request for _, request in sent])
        except OSError as error:
            self._known = False
            raise refusal("update policies", "SPD", NetlinkError(error.errno or EINTR)) from error
        failed: list[tuple[PolicyOperation, str]] = []
        for position, (operation, _) in enumerate(sent):
            text = self._account(operation, errors.get(position))
            if text:
                failed.append((operation, text))
        return failed

    def _request(self, operation: PolicyOperation) -> Request | None:
        """The message of an operation; None where a policy to be deleted is gone already."""
        if isinstance(operation, DeletePolicy):
            index = self._index.get(operation.old.key)
            return None if index is None else messages.delete_policy(KernelPolicy(index, operation.old))
        key = operation.new.key
        known = key in self._index
        if not known:
            self._index[key] = self._new(operation.new)
        return messages.put_policy(operation.new, self._index[key], replace=known)

    def _account(self, operation: PolicyOperation, error: NetlinkError | None) -> str:
        """Remember what an operation did; gives a problem or ""."""
        if isinstance(operation, DeletePolicy):
            if error is None or error.code == ENOENT:
                index = self._index.pop(operation.old.key, None)
                if index is not None:
                    self._used.discard(index_number(index))
                return ""
        elif error is None:
            return ""
        else:
            index = self._index.pop(operation.new.key, None)
            if index is not None:
                self._used.discard(index_number(index))
            self._known = False
            if error.code == EEXIST:
                key = operation.new.key
                return (
                    f"{key}: a policy that is not ours has this selector already; ours does not stand."
                    f" Remove it: ip xfrm policy delete src {key.source} dst {key.destination}"
                    f" dir {key.direction.value}"
                )
        return str(refusal("update policy", str(operation), error))

    def _forgotten(self, operation: PolicyOperation) -> bool:
        if isinstance(operation, PutPolicy):
            return operation.old is not None and operation.new.key not in self._index
        return operation.old.key not in self._index

    def _new(self, policy: Policy) -> int:
        """The next free index (the kernel falls back to one of its own, without our mark, if it is taken)."""
        while self._next in self._used:
            self._next = (self._next + 1) % _NUMBERS
        number = self._next
        self._used.add(number)
        self._next = (number + 1) % _NUMBERS
        return index_for(number, XFRM_POLICY[policy.key.direction])
