# switchd in a container; docs/operations.md says how it is used. Build it in a clone: docker build -t switchd .

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY LICENSE MANIFEST.in README.md pyproject.toml setup.cfg ./
COPY conf/ conf/
COPY switchd/ switchd/
COPY twisted/ twisted/
RUN python -m venv /opt/switchd && /opt/switchd/bin/pip install --no-cache-dir '.[speedups]'
# Twisted keeps a list of plugins beside them; who runs the server must not write there.
RUN /opt/switchd/bin/switchd protocols > /dev/null && /opt/switchd/bin/twistd --help > /dev/null

FROM python:3.11-slim-bookworm
COPY --from=build /opt/switchd/ /opt/switchd/
COPY conf/docker.toml /etc/switchd/switchd.toml
WORKDIR /etc/switchd
ENV PATH=/opt/switchd/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
# `docker stop` waits for ten seconds, unless --stop-timeout says more: more than limits.shutdown_seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:9180/health/live', timeout=2)"]
ENTRYPOINT ["twistd", "--reactor", "switchd", "-n", "--pidfile=", "switchd"]
CMD ["--config", "/etc/switchd/switchd.toml"]
