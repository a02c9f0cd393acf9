"""Foreign IKE daemons from the distribution, each in a namespace with a configuration of its own.

``peer`` is what each of them can be told and asked. ``swanctl`` renders strongSwan's configuration and reads what it
lists; ``strongswan`` runs it. ``libreswan`` runs pluto and ``openiked``
iked, each from an unpacked package.
"""
