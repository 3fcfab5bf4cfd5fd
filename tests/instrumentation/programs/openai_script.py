# mypy: ignore-errors
"""A script that knows nothing of telemetry: it has two sentences spoken by OpenAI's SDK, at OPENAI_BASE_URL."""

import openai

with openai.OpenAI() as client:
    print(len(client.audio.speech.create(model="tts-1", voice="alloy", input="Hello there.", response_format="wav").content))
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="How are you?", response_format="wav"
    ) as response:
        response.stream_to_file("/dev/null")
