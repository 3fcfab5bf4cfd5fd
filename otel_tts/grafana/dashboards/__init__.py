"""One module a dashboard: its sections, from what matters most to what explains it."""
