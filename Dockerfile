# syntax=docker/dockerfile:1
# Two images from one recipe:
#   docker build --target cpu -t ddr:cpu .
#   docker build --target gpu -t ddr:gpu .     (faiss-gpu and torch; needs the NVIDIA container runtime to use a GPU)
# Run:  docker run --rm -v "$PWD:/work" ddr:cpu status
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN pip install uv==0.13.8
WORKDIR /src
COPY pyproject.toml README.md requirements.lock ./
COPY ddr ddr
COPY runbooks runbooks
COPY scenarios scenarios
RUN uv build --wheel --out-dir /dist

FROM build AS build-cpu
RUN python -m venv /opt/ddr \
 && wheel=$(ls /dist/ddr-*.whl) \
 && VIRTUAL_ENV=/opt/ddr uv pip install --constraint requirements.lock "ddr[s3,faiss] @ file://${wheel}"

FROM build AS build-gpu
RUN python -m venv /opt/ddr \
 && wheel=$(ls /dist/ddr-*.whl) \
 && VIRTUAL_ENV=/opt/ddr uv pip install --constraint requirements.lock "ddr[s3,faiss-gpu,torch] @ file://${wheel}"

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --gid 10001 ddr && useradd --uid 10001 --gid ddr --create-home --shell /usr/sbin/nologin ddr \
 && install --directory --owner ddr --group ddr /work
ENV PATH=/opt/ddr/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["ddr"]
CMD ["--help"]

FROM base AS gpu
COPY --from=build-gpu /opt/ddr /opt/ddr
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The last stage is the default.
FROM base AS cpu
COPY --from=build-cpu /opt/ddr /opt/ddr
