"""Speech over WebSockets: many utterances on one connection, text in pieces, audio as it comes, interruptions."""
