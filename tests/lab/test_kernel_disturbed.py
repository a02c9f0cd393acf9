"""Who deletes what: only what others take from us is an event."""

import pytest

from tests.lab.kernel_gateway import gateways, inside
from xfrmctl.kernel.desired import Desired
from xfrmctl.kernel.events import Disturbed
from xfrmctl.lab.topology import Topology

pytestmark = pytest.mark.lab

FOREIGN_SA = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1234"
FOREIGN_POLICY = "src 10.50.0.0/24 dst 10.60.0.0/24 dir out"


def test_only_what_others_take_from_us_is_told(topology: Topology) -> None:
    with gateways(topology) as (ga, _):
        ip = ga.ns.batch
        with inside(ga.ns):
            events = ga.kernel.open_events()
        sas = ga.sas()
        ga.kernel.install(sas)
        ga.converge(ga.desired())
        ga.kernel.delete([sas[0][0].id])
        ga.converge(Desired())
        assert events.read() == []

        aead = "aead rfc4106(gcm(aes)) 0x" + "11" * 20 + " 128"
        ip([f"xfrm state add {FOREIGN_SA} reqid 7 {aead}", f"xfrm policy add {FOREIGN_POLICY} action block"])
        ip([f"xfrm state delete {FOREIGN_SA}", f"xfrm policy delete {FOREIGN_POLICY}"])
        assert events.read() == []

        ga.kernel.install(sas[:1])
        ga.converge(ga.desired())
        for command in ("xfrm state deleteall", "xfrm policy deleteall"):
            ip([command])
            assert events.read() == [Disturbed()], command
        ga.kernel.install(sas[:1])
        ga.converge(ga.desired())
        for command in ("xfrm state flush", "xfrm policy flush"):
            ip([command])
            assert events.read() == [Disturbed()], command
        events.close()
