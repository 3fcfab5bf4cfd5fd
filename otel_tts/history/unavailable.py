"""What is raised when there is no history to be had."""


class HistoryUnavailable(ConnectionError):
    """A source of history does not answer, or not as it should. The message is for people: who, what happened, what to do."""
