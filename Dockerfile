# The gateway in a container: one binary on a base without a shell, run by a user without rights.
#
#   docker build -t lumenfall .
#   docker run --rm -p 8080:8080 --read-only --tmpfs /tmp -v lumenfall:/var/lib/lumenfall lumenfall

FROM rust:1.95-bookworm AS build
# For the faster codecs only: libjpeg-turbo is built with cmake, its inner loops and rav1e's with nasm.
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake nasm \
 && rm -rf /var/lib/apt/lists/*
# Optimised across crates: it takes minutes that only whoever runs the result wins back.
ENV CARGO_PROFILE_RELEASE_LTO=thin
WORKDIR /build

# Dependencies first, against empty crates: this layer lives as long as Cargo.lock. The tables of tests and benches go
# because their files are not here.
COPY Cargo.toml Cargo.lock ./
COPY crates/core/Cargo.toml crates/core/
COPY crates/providers/Cargo.toml crates/providers/
COPY crates/sandbox/Cargo.toml crates/sandbox/
RUN sed -i '/^\[\[\(test\|bench\)\]\]/,/^$/d' Cargo.toml \
 && mkdir src crates/core/src crates/providers/src crates/sandbox/src \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs crates/core/src/lib.rs crates/providers/src/lib.rs crates/sandbox/src/lib.rs \
 && cargo build --release --locked --features native-codecs \
 && rm -r src crates

COPY migrations migrations
COPY config config
COPY crates crates
COPY src src
# The copies may be older than what was built from the empty crates.
RUN touch src/main.rs src/lib.rs crates/*/src/lib.rs \
 && cargo build --release --locked --features native-codecs \
 && install -d -m 0750 /layout/var/lib/lumenfall

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Lumenfall" \
      org.opencontainers.image.description="One self-hosted gateway in front of every AI image and video provider" \
      org.opencontainers.image.source="https://github.com/lumenfall-ai/lumenfall" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/target/release/lumenfall /usr/local/bin/lumenfall
COPY --from=build --chown=65532:65532 /layout/var/lib/lumenfall /var/lib/lumenfall
ENV LUMENFALL_SERVER__LISTEN=0.0.0.0:8080 \
    LUMENFALL_DATABASE__URL=sqlite:///var/lib/lumenfall/lumenfall.db \
    LUMENFALL_MEDIA__STORAGE=file:///var/lib/lumenfall/media
# Everything that is written is written below this folder, so the rest may be read-only.
WORKDIR /var/lib/lumenfall
VOLUME /var/lib/lumenfall
USER nonroot
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["/usr/local/bin/lumenfall", "health"]
ENTRYPOINT ["/usr/local/bin/lumenfall"]
