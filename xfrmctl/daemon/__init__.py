"""The only place where things meet.

``main``      composition root: kernel, sockets, engine, control API, metrics; ``process`` signals and exit codes
``runtime``   one input a step: call the engine, drain its outbox, dispatch in order, re-arm the one timer
``udp``       the IKE sockets; ``clock`` time and entropy; ``routes`` what the kernel would send where
``intent``    configuration + established children -> what should stand in the kernel
``reconcile`` brings it about in a worker thread, and watches over it
``paths``     joins the IKE engine and the path-MTU engine; ``memory`` keeps beliefs over a restart
``snapshot``  the state of the gateway as one value, ``traffic`` its counters alone; ``state`` the words for it,
              ``select`` the filters of ``show``, ``tally`` how often things happened; ``handlers`` the control API
``inherit``   SAs of the daemon before us carry packets until their successors stand
``bus``       events to logs, metrics and the API; ``logs`` the only formatter
``cleanup``   removes every trace of us; ``lifecycle`` tells the service manager how we are
"""
