"""Picture files painted by programs that `agnlib export` wrote, with onnxruntime or OpenVINO: torch is not imported."""
