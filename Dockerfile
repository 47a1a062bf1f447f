# The service in a small image: built with the lock file, run by nobody in particular.

FROM rust:1.95.0-slim-bookworm AS build
# The image's own toolchain, instead of the one with components that rust-toolchain.toml would download.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /scrip
COPY . .
RUN cargo build --release --locked --bin scrip

FROM debian:bookworm-slim
# Certificates for an outside Vault or Postgres over TLS; curl for the health check.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/scrip/keys
COPY --from=build /scrip/target/release/scrip /usr/local/bin/scrip
USER 10001:10001
EXPOSE 7070 7071
ENTRYPOINT ["scrip"]
CMD ["serve"]
