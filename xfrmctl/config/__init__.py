"""Files -> values: a YAML file of the form of DESIGN 4 becomes a :class:`~xfrmctl.config.load.Configuration`.

============  ====================================================================================
module        is
============  ====================================================================================
problem       what is wrong in a file: where, what, why, cure; ConfigError carries all of them
document      YAML text -> plain data, and where each value stands; duplicate keys are errors
spelling      how single values are written: 30s, 10G, 127.0.0.1:9877, selectors, proposals
mapping       what all sections have in common: unknown keys are errors, lists may be single values
schema        which keys there are, their kinds, defaults and meaning (pydantic); schema_child: a child's
explain       pydantic's findings -> problems in an operator's words
secrets       where pre-shared keys come from, and who may read them
handed        the files that systemd hands to its services as credentials
credentials   certificates, private keys, CAs and CRLs from files
identities    who we are and whom we accept, and what a certificate can confirm of it
check         what no single value shows: overlaps, twins, missing addresses
numbering     reqid and if_id, stable over reloads and restarts
build         schema -> values of the IKE engine
load          the way from a path to a Configuration; digests that tell what a reload changes
written       values of the engine -> the keys that say the same: what differs between two configurations
jsonschema    the published JSON schema, for editors and for CI
============  ====================================================================================
"""
