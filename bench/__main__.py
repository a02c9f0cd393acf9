"""``python -m bench`` is the benchmark in the lab."""

from bench.handshakes import main

raise SystemExit(main())
