"""The live dashboard: telemetry in a browser, as it arrives. Read-only.

`view` is what somebody looks at (the URL), `reading` asks `history` for it, `standing`, `judgement` and `waterfall` say what it
means, `charts` and `tiles` draw it. All of that is plain Python; only `app` and `screens` know Streamlit.
"""
