# outboxd and the libraries it is linked with, nothing else: no shell, no package manager, a user of its own, and no need
# to write anywhere. docs/CONTAINERS.md tells how to run it.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /usr/src/outboxd
# First what changes seldom, so that a change of the source does not install packages again.
COPY tests/setup/install.sh tests/setup/
RUN tests/setup/install.sh build && apt-get -qq -y --no-install-recommends install ca-certificates
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY cmake cmake
COPY include include
COPY sql sql
COPY src src
RUN cmake --preset package && cmake --build --preset package --target outboxd
COPY packaging/container packaging/container
RUN packaging/container/root.sh build/package/src/cmd/outboxd /image

FROM scratch
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="outboxd" \
      org.opencontainers.image.description="Transactional outbox relay: a PostgreSQL table to Elasticsearch or OpenSearch" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
ENV PATH=/usr/bin
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
# Alive, not ready: an outage of a server is no reason to restart the relay.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["outboxd", "health"]
ENTRYPOINT ["outboxd"]
