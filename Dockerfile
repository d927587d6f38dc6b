# The broker as an image: Node, the locked packages, src/ and the examples in config/, run from source. What it reads is mounted at /etc/writ,
# so that nobody runs on examples by oversight. No instruction needs a shell, so that the base may be
# one without; nothing but WRIT_DATA_DIR is written, so that the root may be read-only. See deploy/README.md.
#
#   docker build -t writ .
#
# Name bases by digest in production: --build-arg NODE_IMAGE=node:26-slim@sha256:… --build-arg RUNTIME_IMAGE=…
# NODE_IMAGE brings npm for the build; RUNTIME_IMAGE needs only `node` on its PATH and the certificates of public authorities.
ARG NODE_IMAGE=node:26-slim
ARG RUNTIME_IMAGE=${NODE_IMAGE}

# Optional packages are left out: they are Nodes for machines without one, and native speed-ups that are compiled at install.
FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY ["package.json", "package-lock.json", ".npmrc", "./"]
RUN ["npm", "ci", "--omit=dev", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
# Empty folders for volumes: a new volume takes its owner from the folder that it covers.
RUN ["node", "--eval", "fs.mkdirSync('/owned/data', { recursive: true }); fs.mkdirSync('/owned/shared')"]

FROM ${RUNTIME_IMAGE} AS broker
LABEL org.opencontainers.image.title="writ" \
      org.opencontainers.image.description="Just-in-time credential broker" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
COPY --from=packages --chown=65532:65532 ["/owned/data", "/data"]
COPY --from=packages ["/app/node_modules", "node_modules"]
COPY ["package.json", "./"]
COPY ["config", "config"]
COPY ["deploy/probe.ts", "deploy/rotate-keys.ts", "deploy/"]
COPY ["src", "src"]
ENV NODE_ENV=production \
    WRIT_LISTEN=0.0.0.0:8480 \
    WRIT_DATA_DIR=/data \
    WRIT_CONFIG_DIR=/etc/writ
USER 65532:65532
EXPOSE 8480
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=5s --start-period=10s --retries=3 CMD ["node", "deploy/probe.ts"]
# No __proto__, no text becomes code, no native code, no inspector on SIGUSR1, a heap that leaves room for the rest, and one in which a request is
# answered before it is looked through.
# Not --permission: it takes fsync away (Node 26), and nothing may be answered before the witness is on disk.
CMD ["node", "--disable-proto=delete", "--disallow-code-generation-from-strings", "--no-addons", "--disable-sigusr1", \
     "--max-old-space-size-percentage=70", "--max-semi-space-size=32", "--unhandled-rejections=strict", "src/main.ts"]

FROM ${NODE_IMAGE} AS dev-packages
WORKDIR /app
COPY ["package.json", "package-lock.json", ".npmrc", "./"]
RUN ["npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]

# Development only: the identity provider without passwords and the set-up of Vault. `docker build --target dev`
FROM ${RUNTIME_IMAGE} AS dev
WORKDIR /app
COPY --from=packages --chown=65532:65532 ["/owned/shared", "/shared"]
COPY --from=dev-packages ["/app/node_modules", "node_modules"]
COPY ["package.json", "./"]
COPY ["src", "src"]
COPY ["config", "config"]
COPY ["deploy", "deploy"]
USER 65532:65532
CMD ["node", "deploy/compose/identity.ts"]

# What `docker build` makes when nothing else is asked for.
FROM broker
