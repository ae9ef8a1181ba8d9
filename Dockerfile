# agnlib on the CPU: the demo page, or any other command. docs/howto/other-programs.md says how it is run.
FROM python:3.12-slim

# Where pip takes PyTorch from; an index of wheels for the CPU alone makes a much smaller image.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision

WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY agnlib agnlib
RUN pip install --no-cache-dir ".[demo,onnx]" && rm -rf /source

RUN useradd --create-home --uid 10001 painter
USER painter
WORKDIR /pictures

EXPOSE 7860
ENTRYPOINT ["agnlib"]
# It listens on the container's own loopback: who publishes the port says --host 0.0.0.0.
CMD ["demo", "--no-browser"]
