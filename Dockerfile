# The package with all extras, for CPUs. The demo:  docker build -t expunge . && docker run --rm expunge demo
# Own files:  docker run --rm -v "$PWD:/work" expunge run --config job.toml --out edited
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[all]"

FROM python:3.12-slim
COPY --from=build /venv /venv
RUN useradd --create-home user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["/venv/bin/expunge"]
CMD ["--help"]
