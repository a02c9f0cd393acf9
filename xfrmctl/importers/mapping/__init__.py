"""Neutral tunnels -> our configuration, with what became of every setting.

==========  ===================================================================
module      does
==========  ===================================================================
draft       one connection of ours in the making, and its lines of the report
auth        proofs: keys by identity, certificates with the keys that fit them
child       children, and the policies that some of theirs become
connection  the IKE SA
plan        all of them: names, peers that stand twice, what is left over
==========  ===================================================================
"""
