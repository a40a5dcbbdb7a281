# One image for every role: api, worker, migrate.
#   docker build -t redress .
FROM rust:1.94-slim-bookworm AS build
WORKDIR /src
COPY . .
# SQLite and the cryptography are compiled from C; everything else is Rust. The caches outlive the build.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package redress && cp target/dist/redress /redress

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /redress /usr/local/bin/redress
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/redress/
# 65532 is `nonroot`. By number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/redress
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/redress"]
CMD ["serve"]
