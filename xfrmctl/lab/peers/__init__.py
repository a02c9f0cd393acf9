"""Foreign IKE daemons from the distribution, each in a namespace with a configuration of its own.

``swanctl`` renders strongSwan's configuration and reads what it lists; ``strongswan`` runs it.
"""
