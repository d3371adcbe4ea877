FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements-build.lock .
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY identity identity
COPY migrations migrations
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .


FROM python:3.12-slim
# One arena for all threads: with one each, malloc keeps three megabytes more.
ENV MALLOC_ARENA_MAX=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# python-jose requires the uninstalled three for keys made without `cryptography`, which this service never does.
# --build-arg LOCK=requirements-otel.lock: with the extra [otel], for traces.
ARG LOCK=requirements.lock
COPY requirements.lock requirements-otel.lock /tmp/
RUN pip install --no-cache-dir --no-deps --require-hashes -r /tmp/${LOCK} \
    && pip uninstall --yes ecdsa rsa six \
    && rm /tmp/*.lock
COPY --from=build /wheel /tmp/wheel
RUN pip install --no-cache-dir --no-deps /tmp/wheel/*.whl && rm -r /tmp/wheel

# var/ holds the SQLite database, keys/ the master key: mount both, or set IDENTITY_DATABASE_URL and IDENTITY_MASTER_KEY.
WORKDIR /srv/identity
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin identity \
    && install --directory --owner identity --group identity --mode 0700 var keys
USER identity
VOLUME ["/srv/identity/var", "/srv/identity/keys"]

# The check follows --port, --host and their settings.
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["python", "-m", "identity.cli.healthcheck"]
ENTRYPOINT ["python", "-m", "identity"]
CMD ["serve", "--host", "0.0.0.0"]
