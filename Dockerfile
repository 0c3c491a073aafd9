# One image for both programs:
#   docker run IMAGE twistd -n broker --listen 'tcp://*:1337' --control 'http://*:8080' --insecure
#   docker run IMAGE twistd -n engine --host <broker>

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY requirements requirements
# The development versions are here for their build backend, hatchling.
RUN python -m venv --without-pip /opt/broker-engine \
 && pip --python /opt/broker-engine/bin/python install --require-hashes -r requirements/image.txt \
 && pip install --require-hashes -r requirements/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY brokerproto brokerproto
COPY transports transports
COPY services services
COPY twisted twisted
# The last step writes twisted/plugins/dropin.cache, which the image's user could not.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && pip --python /opt/broker-engine/bin/python install --no-deps /wheel/*.whl \
 && /opt/broker-engine/bin/python -I -c \
    "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="broker-engine" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/broker-engine /opt/broker-engine
ENV PATH=/opt/broker-engine/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 1337 8080
STOPSIGNAL SIGTERM
# Loopback only, as the program's own defaults: whoever opens it says so.
CMD ["twistd", "-n", "broker"]
