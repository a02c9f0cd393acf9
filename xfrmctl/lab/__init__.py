"""Gateways, routers, NAT boxes and hosts in network namespaces, on a kernel with real ESP.

==============  ==================================================================================
module          is
==============  ==================================================================================
kernel/         does the running kernel do ESP? if not: build one from the distribution's source
boot            run a command in a kernel with ESP: directly where possible, else in a guest
topology        host A - gateway A - [NAT box -] router - gateway B - host B
namespace       one network namespace: run things in it, remove it with all its processes
static          ESP SAs and policies put in by hand: the kernel alone, without any daemon
capture         packets of one link, classified; proves that nothing crossed in clear
packets         bytes of a packet -> what it is
pcap            the classic capture file format
traffic         ping, TCP and UDP with measured results
peers/          foreign IKE daemons from the distribution
gateway         our own daemon in a namespace
demo            the main job: two gateways, a tunnel, a report of measured facts
app             the verbs of ``xfrmctl lab``
==============  ==================================================================================

Everything here runs as root and touches nothing outside the namespaces that it makes itself.
"""
