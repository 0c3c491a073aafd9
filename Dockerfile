# One image for both programs; docs/how-to/image.md goes through it.
#   docker build --tag broker-engine:0.1.0 .
#   docker run IMAGE twistd -n broker --listen 'tcp://*:1337' --control 'http://*:8080' --insecure
#   docker run IMAGE twistd -n engine --host <broker>

# Any image that has Python 3.11 or later with its venv module.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /source
COPY requirements/build.txt requirements/image.txt requirements/
RUN python3 -m venv /build \
 && /build/bin/pip install --require-hashes -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/broker-engine \
 && /build/bin/pip --python /opt/broker-engine/bin/python install --no-compile \
    --require-hashes -r requirements/image.txt
COPY pyproject.toml README.md LICENSE ./
COPY brokerproto brokerproto
COPY transports transports
COPY services services
COPY twisted twisted
# Nothing can be written where it runs, so the bytecode and twisted/plugins/dropin.cache are
# made here. Both must outlive what layers do to the times of files: the bytecode asks for none,
# and the plugins are older than their cache even where only whole seconds are kept.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/broker-engine/bin/python install --no-compile --no-deps /wheel/*.whl \
 && find /opt/broker-engine -depth -type d '(' -name test -o -name tests ')' -exec rm -r '{}' ';' \
 && find /opt/broker-engine -path '*/twisted/plugins/*.py' -exec touch -t 198001010000 '{}' ';' \
 && /opt/broker-engine/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/broker-engine/lib \
 && /opt/broker-engine/bin/python -I -c \
    "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="broker-engine" \
      org.opencontainers.image.description="A broker, and the engines that it commands" \
      org.opencontainers.image.licenses="MIT"
# The official image has no bytecode of the standard library: without this, each start of an
# engine would compile it, for half a second of CPU and 4 MiB.
RUN ["python3", "-B", "-c", "\
import compileall, py_compile, sysconfig; \
compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, \
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"]
COPY --from=build /opt/broker-engine /opt/broker-engine
ENV PATH=/opt/broker-engine/bin:$PATH
USER 65532:65532
EXPOSE 1337 8080
# The first one has a broker send its engines away, or ends an engine's work; a second one
# ends the process at once.
STOPSIGNAL SIGTERM
# Loopback only, as the program's own defaults: whoever opens it says so.
CMD ["twistd", "-n", "broker"]
