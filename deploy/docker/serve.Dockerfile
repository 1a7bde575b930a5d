# The image of a host that searches: `lookup` and the commands that only read a store, without Beam and torch.
#
#   docker build -f deploy/docker/serve.Dockerfile -t vitrine-serve:0.1.0 .
#   docker run --rm --network none --read-only --tmpfs /tmp -v /srv/vitrine/store:/srv/vitrine/store:ro \
#     vitrine-serve:0.1.0 search /srv/vitrine/store --text 'red dress'
#
# There is no server in it yet: put your own, which calls `lookup.open`, on top of it (FROM vitrine-serve:0.1.0). Hence no
# HEALTHCHECK either; your server's is to ask it a query.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements requirements
RUN python -m pip install --no-cache-dir --require-hashes -r requirements/installer.lock \
    && uv venv --no-cache /opt/vitrine \
    && uv pip install --no-cache --compile-bytecode --python /opt/vitrine --require-hashes -r requirements/serve.lock
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
ENTRYPOINT ["vitrine"]
CMD ["doctor"]
