# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103
"""Web applications that know nothing of telemetry: they ask a vendor, who is not there, and then an engine of their own."""

import hibari
import openai

engine = None


def say(text):
    global engine
    engine = engine or hibari.Hibari(threads=1)
    try:
        with openai.OpenAI(base_url="http://127.0.0.1:1/", api_key="none", max_retries=0) as client:
            return client.audio.speech.create(model="tts-1", voice="alloy", input=text).content
    except openai.OpenAIError:
        return engine(text).tobytes()


def wsgi(environ, start_response):
    """Speaks while it is sent."""
    start_response("200 OK", [("Content-Type", "audio/wav")])
    return (say(text) for text in environ["QUERY_STRING"].split("+"))


async def asgi(scope, receive, send):
    """Speaks, then answers."""
    assert scope["type"] == "http"
    audio = b"".join(map(say, scope["query_string"].decode().split("+")))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": audio})
