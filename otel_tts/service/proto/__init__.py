"""The service's API: ``yap/tts/v1/tts.proto`` and the code generated from it."""
