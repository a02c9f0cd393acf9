"""The local API: HTTP + JSON on a unix socket, versioned under ``/v1/``. Use it with curl, too::

    curl --unix-socket /run/xfrmctl/control.sock http://xfrmctl/v1/status

==================================  ======================================================================
request                             answers
==================================  ======================================================================
GET  /v1/status                     200 Snapshot: the whole gateway, or with ``?state=not-up&peer=*.example.org``
                                    what the filters leave (``query``)
GET  /v1/traffic                    200 Traffic: counters of all CHILD SAs, for rates; the same filters
GET  /v1/connections/NAME           200 ConnectionInfo
POST /v1/connections/NAME/up        200 or 409 ActionResult; body, optional: {"child": NAME, "timeout_s": 60}
POST /v1/connections/NAME/down      200 or 409 ActionResult; body, optional: {"child": NAME}
POST /v1/connections/NAME/debug     200 ActionResult; body, optional: {"seconds": 600}; the story is in log and events
POST /v1/reload                     200 or 422 ReloadResult: with 422 the old configuration stays in force
POST /v1/plan                       200 PlanResult: what a reload would change, and what differs in the kernel
GET  /v1/events                     200 JSON lines, one event each, until the client goes; with
                                    ``?connection=branch-7&severity=warning&last=20`` some of them
GET  /v1/openapi.json               200 this table for machines
==================================  ======================================================================

Every other answer is ``{"error": {"message": …, "cure": …}}``. Every answer carries ``Xfrmctl-Api``, the
version of the API. New fields may come in any release; a client ignores those it does not know. Whoever may
open the socket may do everything: its permissions are the access control.

``schema`` the values, ``server`` the HTTP side, ``listen`` the socket, ``query`` filters, ``pour`` large answers,
``stream`` events to slow readers, ``events`` model events -> JSON, ``openapi`` the published schema, ``client`` a
blocking client without asyncio.
"""
