# The image of all nodes, with and without a GPU: the locked torch brings its own CUDA libraries, so
# a GPU node needs only NVIDIA's driver and container toolkit.
#
#   docker build --tag YOUR-REGISTRY/ier_ray:0.1.0-ray2.60.0 .
#   docker push YOUR-REGISTRY/ier_ray:0.1.0-ray2.60.0
FROM python:3.11.13-slim-bookworm

# Ray's launcher copies files by rsync and starts workers from the head's container by ssh; KubeRay
# probes Serve by wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client procps rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.9 \
    && useradd --uid 1000 --create-home --shell /bin/bash ray

# Only what jobs and the service import: versions and hashes are the lock's, tools of development
# stay out. The layer changes with the lock only.
WORKDIR /home/ray/ier_ray
COPY pyproject.toml requirements.lock ./
RUN uv pip install --system --no-cache --compile-bytecode --constraint requirements.lock \
    --requirement pyproject.toml --extra captions --extra heif --extra mlflow --extra study

COPY README.md LICENSE ./
COPY ier_ray ier_ray
COPY jobs jobs
COPY configs configs
RUN uv pip install --system --no-cache --compile-bytecode --no-deps .

# Ray's launcher reads HOME from here. Docker would make the directory of the token root's.
# Serve starts HAProxy by this command, without splicing (ier_ray/serve/haproxy.py).
ENV HOME=/home/ray RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_HAPROXY_BINARY_PATH=/usr/local/bin/ier-ray-haproxy
USER ray
RUN mkdir --mode 700 /home/ray/.ray
WORKDIR /home/ray
