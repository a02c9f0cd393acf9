"""Faults as data: what makes each of them for real, and the one finding that ``xfrmctl diagnose`` must have then."""
