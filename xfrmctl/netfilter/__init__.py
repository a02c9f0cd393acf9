"""What the rules of netfilter do to one packet, told from what ``iptables-save -c`` and ``nft`` print. Pure.

=========== ==================================================================================================
rules       a rule set as values: tables, chains, rules, matches, targets
save        text of ``iptables-save`` and ``ip6tables-save`` -> values; RulesError with the line
packet      what is known of a packet where it meets rules, and the host that is asked about the rest
truth       yes, no, or "depends on …": the three answers of a match
match       one rule against one packet
options     what single options say: addresses, ports, states, marks, sets
policy      ``-m policy``: what XFRM has done, or will do
nft         text of ``nft -j`` and ``nft -a list ruleset`` -> values
expressions expressions of nf_tables about a packet
nftwalk     a packet through one base chain of nf_tables
sets        what is asked of a set of ipset, by its type
nat         where DNAT, SNAT, MASQUERADE, REDIRECT and NETMAP send a packet
walk        a packet through the chains of one table at one hook: who decided, what changed, what it depends on
=========== ==================================================================================================

Nothing is guessed: a match that needs what is not known (a rate, a time, a socket's owner) is reported as such, the
walk goes on as if the rule did not match, and the verdict carries the condition.
"""
