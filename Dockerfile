# natter in a container: run `docker build -t natter .`, then see compose.yaml or
# docs/operations.md.

FROM rust:1.95-bookworm AS build
WORKDIR /natter

# This step builds only the dependencies, with empty sources. Docker builds this layer again only
# when Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/api benches/load \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs tests/api/main.rs benches/load/main.rs >/dev/null \
 && cargo build --release --locked --bin natter

# This step builds natter. Cargo compares modification times, and the files of a checkout may be
# older than the empty sources were: `touch` makes them newer. Settings, definitions of collections
# and demo data become part of the binary.
COPY config config
COPY indexes indexes
COPY fixtures fixtures
COPY src src
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked --bin natter \
 && target/release/natter --version

FROM debian:bookworm-slim

LABEL org.opencontainers.image.title="natter" \
      org.opencontainers.image.description="A chat backend in one binary, on MongoDB and Redis" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

# The ids are fixed, so that an operator can make a mounted key readable for exactly this user. The
# image needs nothing else: TLS, root certificates and defaults are in the binary.
RUN groupadd --system --gid 10001 natter \
 && useradd --system --uid 10001 --gid natter --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin natter

COPY --from=build /natter/target/release/natter /usr/local/bin/natter
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/natter/

USER 10001:10001
EXPOSE 8443

# The command requests /healthz from the address in the settings. It reads the settings as the
# server does, from the environment or NATTER_CONFIG, but does not see `--set` options of the server.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["natter", "healthcheck"]

# There is no shell in between, so SIGTERM reaches natter, which then finishes requests in progress.
STOPSIGNAL SIGTERM
ENTRYPOINT ["natter"]
CMD ["serve"]
