# The image of a night: `vitrine run` and all that goes with it, on a CPU.
#
#   docker build -f deploy/docker/batch.Dockerfile -t vitrine-batch:0.1.0 .
#   docker run --rm --network none --read-only --tmpfs /tmp \
#     -v /etc/vitrine:/etc/vitrine:ro -v /srv/catalog:/srv/catalog:ro -v /srv/vitrine:/srv/vitrine \
#     vitrine-batch:0.1.0 run -c /etc/vitrine/nightly.yaml
#
# Building downloads; running makes no connection. /srv/vitrine/store belongs to user 10001.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements requirements
RUN python -m pip install --no-cache-dir --require-hashes -r requirements/installer.lock \
    && uv venv --no-cache /opt/vitrine \
    && uv pip install --no-cache --compile-bytecode --python /opt/vitrine --require-hashes -r requirements/cpu.lock
COPY pyproject.toml README.md LICENSE ./
COPY encoders encoders
COPY foundation foundation
COPY index_builders index_builders
COPY lookup lookup
COPY pipeline pipeline
RUN uv build --no-cache --wheel --build-constraints requirements/cpu-dev.lock --require-hashes \
    && uv pip install --no-cache --compile-bytecode --python /opt/vitrine --no-deps dist/*.whl

FROM python:3.11-slim-bookworm
COPY --from=build /opt/vitrine /opt/vitrine
ENV PATH=/opt/vitrine/bin:$PATH HOME=/tmp VITRINE_CACHE=/tmp/vitrine VITRINE_MODELS=/srv/vitrine/models
WORKDIR /srv/vitrine
USER 10001:10001
# As the first process of a container a run would not hear SIGTERM; SIGINT ends it, and run again it goes on from there.
STOPSIGNAL SIGINT
ENTRYPOINT ["vitrine"]
CMD ["--help"]
