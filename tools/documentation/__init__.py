"""The pages of ``docs/`` that are written from code; prose that no code can give stands beside it in Markdown."""
