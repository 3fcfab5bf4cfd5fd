"""The traffic that the demo and ``verify`` send."""
