# otel-tts as an image. EXTRAS says what is in it, engines included: `docker build --build-arg EXTRAS=service,piper,espeak .`
# Piper and eSpeak NG are GPL-3.0-or-later, so that the default has neither.
ARG PYTHON_IMAGE=python:3.13.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=service,redis,hibari
WORKDIR /source
RUN python -m venv /opt/otel-tts
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY otel_tts otel_tts
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/otel-tts/bin/pip install --disable-pip-version-check --constraint constraints.txt ".[${EXTRAS}]"

FROM ${PYTHON_IMAGE}
# Made before a volume is mounted there: a new volume takes over the owner of what it covers.
RUN groupadd --gid 10001 otel-tts \
    && useradd --uid 10001 --gid otel-tts --home-dir /var/lib/otel-tts --shell /usr/sbin/nologin otel-tts \
    && install --directory --owner otel-tts --group otel-tts --mode 0700 /var/lib/otel-tts
COPY --from=build /opt/otel-tts /opt/otel-tts
ENV PATH=/opt/otel-tts/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OTEL_TTS_DATA_DIR=/var/lib/otel-tts
WORKDIR /var/lib/otel-tts
USER 10001:10001
EXPOSE 50053 8002 8501
ENTRYPOINT ["otel-tts"]
CMD ["serve"]
