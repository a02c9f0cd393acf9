"""The Grafana dashboards as code: ``python -m tools.dashboards`` writes deploy/grafana/dashboards (`make dashboards`).

``parts`` what panels are made of, ``words`` what the labels mean, and one file for each dashboard: ``fleet``,
``gateway``, ``tunnel``, ``path_mtu``. Expressions are PromQL of Prometheus 2.42, with three abbreviations that
``parts.spelled`` writes out.
"""
