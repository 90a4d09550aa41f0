"""onnxruntime on the CPU, as the other scripts use it."""

import numpy as np
import onnxruntime


def open_session(model, threads=None):
    """A CPU session with all graph optimisations; `threads` None leaves the choice to onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def fixed_batch(session):
    """The batch size a model insists on, or None when it is free."""
    batch = session.get_inputs()[0].shape[0]
    return batch if isinstance(batch, int) and batch > 0 else None


def logits(session, images, chunk=32):
    """The first output for `images` [N, ...], computed in pieces of `chunk` or of the model's fixed batch."""
    name = session.get_inputs()[0].name
    step = fixed_batch(session) or chunk
    if len(images) % step and fixed_batch(session):
        raise SystemExit(f"the model's batch is fixed at {step}; {len(images)} images are no multiple of it")
    pieces = [session.run(None, {name: images[i : i + step]})[0] for i in range(0, len(images), step)]
    return np.concatenate(pieces)
