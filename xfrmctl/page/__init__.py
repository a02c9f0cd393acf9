"""The status page: a read-only look at the gateway for a browser. Off unless ``gateway.status_page`` is written.

=============== ==============================================================================================
``server``      HTTP: who may ask (methods, Host), headers, when is looked for faults
``history``     the last hour of traffic and sizes, in a bounded memory; filled by looking at snapshots
``overview``    the first page; ``connection`` is the page of one connection, ``findings`` the part for faults
``frame``       what every page has around its content, and ``style`` how it looks
``plot``        values -> inline SVG; ``markup`` values -> HTML, where everything is escaped
=============== ==============================================================================================

No script, no cookie, nothing from elsewhere: it works without internet and says so in its Content-Security-Policy.
"""
