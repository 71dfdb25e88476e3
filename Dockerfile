# One image, one binary; the command says which service it is.
FROM rust:1.95-slim-bookworm AS build
# For jemalloc.
RUN apt-get update && apt-get install --yes --no-install-recommends make
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p crier --features jemalloc && cp target/release/crier /crier

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 crier
COPY --from=build /crier /usr/local/bin/crier
USER crier
ENTRYPOINT ["crier"]
