"""Pictures of the dashboards for the documentation, without Grafana's program: ``make pictures``.

A real pipeline is fed by the real service. Each panel's own queries are asked of its Prometheus and its Jaeger, and the answers drawn by
what the dashboard's JSON says: layout, units, thresholds, colours, legends, words for no data. They are not Grafana's own rendering.
"""
