"""What each product's options mean: tables of them, and files -> :mod:`xfrmctl.importers.neutral`.

=============  ==================================================================
module         reads
=============  ==================================================================
swanctl        swanctl.conf of strongSwan
strongswan     ipsec.conf and ipsec.secrets of strongSwan
libreswan      ipsec.conf and ipsec.secrets of libreswan
vyos           the tree ``vpn ipsec`` of VyOS: config.boot, or ``set`` commands
tables_*       one row for each of their options; docs/import.md is made of these
=============  ==================================================================
"""
