# The package with all extras. The demo:  docker build -t expunge . && docker run --rm expunge demo
# Own files:  docker run --rm -v "$PWD:/data" expunge run --config job.toml --out edited
# For CPUs alone, 1.9 GB (1.7 of them packages, with torch 2.13.0):  docker build --build-arg PIP_EXTRA_INDEX_URL=... with PyTorch's index for CPUs.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
ARG PIP_EXTRA_INDEX_URL=
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[all]" \
    && find /venv -type d \( -name tests -o -path "*/torch/test" -o -path "*/torch/include" \) -prune -exec rm -r {} +

FROM python:3.12-slim
COPY --from=build /venv /venv
RUN useradd --create-home user && mkdir /data && chown user /data
USER user
WORKDIR /data
ENTRYPOINT ["/venv/bin/expunge"]
CMD ["--help"]
