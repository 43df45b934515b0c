# The nightly pipeline and JupyterLab; docker-compose.yml runs both. The data lie in the volume /data.
FROM python:3.11.14-slim-bookworm

# As the first user of most machines, so that a mounted folder stays writable.
ARG UID=1000
RUN useradd --uid "${UID}" --create-home pokewatch \
    && install -d -o pokewatch -g pokewatch /app \
    && install -d -m 0700 -o pokewatch -g pokewatch /data

WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    POKEWATCH_HOME=/data \
    MLFLOW_DISABLE_TELEMETRY=true \
    ZENML_ANALYTICS_OPT_IN=false \
    ZENML_AUTO_OPEN_DASHBOARD=false \
    ZENML_ENABLE_RICH_TRACEBACK=false \
    ZENML_LOGGING_COLORS_DISABLED=true

USER ${UID}
# The packages change seldom: their layer is kept when only the project changes.
COPY --chown=pokewatch requirements.lock ./
RUN python -m venv .venv && pip install --no-deps -r requirements.lock
COPY --chown=pokewatch . ./
RUN pip install --no-deps -e .

VOLUME /data
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s \
    CMD ["pokewatch", "--version"]
CMD ["python", "pipelines/ml_pipeline.py"]
