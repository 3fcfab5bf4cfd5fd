"""Dashboards for Grafana as code.

`render` gives the JSON of each; the queries come from `otel_tts.promql` by name, thresholds from `otel_tts.conditions`.
"""

from otel_tts.grafana.home import Home
from otel_tts.grafana.pages import FOLDER, PAGES, render

__all__ = ["FOLDER", "PAGES", "Home", "render"]
