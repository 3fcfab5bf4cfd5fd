"""YAP: the project whose text-to-speech API this is."""
