"""The options of VyOS's ``vpn ipsec`` (1.3 to 1.5), one row each."""

from xfrmctl.importers.dialects.options import Table, changed, dropped, mapped

_V1 = "only IKEv1 has it"
IKE_GROUP: Table = {
    "key-exchange": changed(
        "", "IKEv1 does not exist here; where nothing is written, it is both in VyOS and IKEv2 here"
    ),
    "lifetime": mapped("ike.rekey"),
    "ikev2-reauth": changed("ike.reauth", "make before break; needs the peer's address"),
    "mobike": mapped("ike.mobike"),
    "disable-mobike": mapped("ike.mobike"),
    "close-action": changed("children.NAME.start", "what is started or trapped here comes again by itself"),
    "dead-peer-detection interval": mapped("ike.dpd"),
    "dead-peer-detection action": changed(
        "children.NAME.start", "what is started or trapped here comes again by itself"
    ),
    "dead-peer-detection timeout": dropped("only IKEv1 uses it; here see ike.retransmit"),
    "proposal encryption": mapped("ike.proposals", "less the algorithms that are not offered here"),
    "proposal hash": mapped("ike.proposals", "less the algorithms that are not offered here"),
    "proposal dh-group": mapped("ike.proposals", "less the groups that are not offered here"),
    "proposal prf": mapped("ike.proposals", "less the algorithms that are not offered here"),
    "mode": dropped(_V1, "", "main"),
}
ESP_GROUP: Table = {
    "lifetime": changed("children.NAME.lifetime.time, .rekey.time", "rekeyed a tenth before it, as strongSwan does"),
    "life-bytes": changed("children.NAME.lifetime.bytes, .rekey.bytes", "rekeyed a tenth before it"),
    "life-packets": changed("children.NAME.lifetime.packets, .rekey.packets", "rekeyed a tenth before it"),
    "disable-rekey": mapped("children.NAME.rekey.time"),
    "mode": changed("children.NAME.mode", "transport asks for transport and takes a tunnel"),
    "pfs": mapped("children.NAME.esp", "enable is the group of ike"),
    "proposal encryption": mapped("children.NAME.esp", "less the algorithms that are not offered here"),
    "proposal hash": mapped("children.NAME.esp", "less the algorithms that are not offered here"),
    "compression": dropped("there is no compression", "", "disable"),
}
PEER: Table = {
    "local-address": changed("local.address", "one address, or any"),
    "remote-address": changed("remote.address", "one address, or any; names are not looked up"),
    "dhcp-interface": changed("local.address", "any: the address that the route to the peer has"),
    "connection-type": changed("children.NAME.start", "initiate is start, respond is trap; none is none"),
    "ike-group": mapped("ike"),
    "default-esp-group": mapped("children.NAME"),
    "force-encapsulation": mapped("ike.encap"),
    "force-udp-encapsulation": mapped("ike.encap"),
    "ikev2-reauth": changed("ike.reauth", "make before break; needs the peer's address"),
    "childless": mapped("ike.childless"),
    "replay-window": changed("children.NAME.replay_window", "rounded up to a multiple of 32, 4096 at most"),
    "authentication mode": changed("auth", "pre-shared-secret, x509 and rsa"),
    "authentication pre-shared-secret": mapped("auth.psk"),
    "authentication local-id": mapped("local.id"),
    "authentication id": mapped("local.id"),
    "authentication remote-id": mapped("remote.id"),
    "authentication use-x509-id": mapped("local.id", "the subject of the certificate"),
    "authentication x509 certificate": mapped("auth.certificate", "from pki certificate"),
    "authentication x509 ca-certificate": mapped("auth.ca", "from pki ca"),
    "authentication x509 passphrase": dropped(
        "private keys are not encrypted here", "decrypt it: openssl pkey -in OLD -out NEW"
    ),
    "authentication x509 cert-file": mapped("auth.certificate"),
    "authentication x509 ca-cert-file": mapped("auth.ca"),
    "authentication x509 crl-file": mapped("auth.crl"),
    "authentication x509 key file": mapped("auth.key"),
    "authentication x509 key password": dropped(
        "private keys are not encrypted here", "decrypt it: openssl pkey -in OLD -out NEW"
    ),
    "authentication rsa local-key": mapped("auth.pubkey, auth.key", "from pki key-pair"),
    "authentication rsa remote-key": mapped("auth.remote_pubkey", "from pki key-pair"),
    "authentication rsa passphrase": dropped(
        "private keys are not encrypted here", "decrypt it: openssl pkey -in OLD -out NEW"
    ),
    "authentication rsa-key-name": changed("", "keys of vpn rsa-keys are not read"),
    "vti bind": changed("children.NAME.dataplane, .interface", "an xfrm interface of that name; the daemon makes it"),
    "vti esp-group": mapped("children.NAME"),
    "vti traffic-selector local prefix": mapped("children.NAME.local_ts"),
    "vti traffic-selector remote prefix": mapped("children.NAME.remote_ts"),
    "tunnel local prefix": mapped("children.NAME.local_ts"),
    "tunnel local port": mapped("children.NAME.local_ts", "in the selector's brackets"),
    "tunnel remote prefix": mapped("children.NAME.remote_ts"),
    "tunnel remote port": mapped("children.NAME.remote_ts", "in the selector's brackets"),
    "tunnel protocol": mapped("children.NAME.local_ts, .remote_ts", "in the selector's brackets"),
    "tunnel esp-group": mapped("children.NAME"),
    "tunnel passthrough": mapped("policies.NAME", "a bypass"),
    "tunnel disable": changed("", "such a tunnel is left out"),
    "disable": changed("", "such a peer is left out"),
    "tunnel priority": dropped("the more specific selector comes first", "see policies.NAME.precedence"),
    "tunnel allow-nat-networks": dropped("selectors may be any networks", "", "disable"),
    "tunnel allow-public-networks": dropped("selectors may be any networks", "", "disable"),
    "virtual-address": changed("", "such a peer is left out: addresses are not asked for here"),
    "description": dropped("comments of yours go into the file"),
}
OTHER: Table = {
    "authentication psk secret": mapped("auth.psk, auth.psks"),
    "authentication psk id": mapped("auth.psks", "whose secret it is"),
    "authentication psk dhcp-interface": dropped("addresses that change are no names", "write local.id"),
    "interface": dropped("the daemon listens on all addresses"),
    "ipsec-interfaces interface": dropped("the daemon listens on all addresses"),
    "log": dropped("the log has no settings", "see `xfrmctl events` and the journal"),
    "logging": dropped("the log has no settings", "see `xfrmctl events` and the journal"),
    "options": dropped("not taken over", "see what it did"),
    "nat-traversal": dropped("NAT traversal is always there", "", "enable"),
    "nat-networks": dropped("selectors are written for each child"),
    "auto-update": dropped("changes are taken by `xfrmctl reload`"),
    "disable-uniqreqids": changed("unique", "no"),
    "include-ipsec-conf": dropped("not followed", "import that file by itself"),
    "include-ipsec-secrets": dropped("not followed", "import that file by itself"),
    "profile": dropped("DMVPN does not exist here", "write the tunnels between the sites"),
    "remote-access": dropped("EAP and pools of addresses do not exist here", "keep it where it is"),
}
TABLES = {
    "vpn ipsec ike-group NAME": IKE_GROUP,
    "vpn ipsec esp-group NAME": ESP_GROUP,
    "vpn ipsec site-to-site peer NAME": PEER,
    "vpn ipsec, all else": OTHER,
}
