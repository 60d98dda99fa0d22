# natter in a container: `docker build -t natter .`, then see compose.yaml or docs/operations.md.

FROM rust:1.95-bookworm AS build
WORKDIR /natter

# First the dependencies alone, behind empty sources: this layer is built again only when
# Cargo.toml or Cargo.lock change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/api benches/load \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs tests/api/main.rs benches/load/main.rs >/dev/null \
 && cargo build --release --locked --bin natter

# Then natter. Cargo goes by times, and files of a checkout may be older than the empty ones were.
# Settings, definitions of collections and demo data become part of the binary.
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

# Fixed numbers, so that whoever mounts a key can make it readable for exactly this user. Nothing
# else is needed: TLS, root certificates and defaults are in the binary.
RUN groupadd --system --gid 10001 natter \
 && useradd --system --uid 10001 --gid natter --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin natter

COPY --from=build /natter/target/release/natter /usr/local/bin/natter
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/natter/

USER 10001:10001
EXPOSE 8443

# Asks /healthz of the address in the settings, which it reads as the server does: from the
# environment or NATTER_CONFIG. It does not see `--set` given to the server.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["natter", "healthcheck"]

# No shell in between: SIGTERM reaches natter, which then lets requests under way finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["natter"]
CMD ["serve"]
