"""Writes tests/fixtures/gguf_blocks.json: random quantized blocks and their numbers by gguf-py.

    python tests/peers/gguf_blocks.py          (needs gguf and numpy; the test needs nothing)
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

generator = np.random.default_rng(0)
cases = []
for kind in [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K]:
    block, size = GGML_QUANT_SIZES[kind]
    blocks = 4 if block == 1 else 1
    while True:
        data = generator.integers(0, 256, size * blocks, dtype=np.uint8)
        numbers = dequantize(data, kind).astype(np.float32)
        if np.isfinite(numbers).all() and 1e-3 < np.abs(numbers).max() < 1e4:
            break
    cases.append(dict(kind=kind.name, number=int(kind), bytes=data.tobytes().hex(), numbers=[float(f"{x:.9g}") for x in numbers]))

path = Path(__file__).parent.parent / "fixtures" / "gguf_blocks.json"
path.write_text(json.dumps(cases) + "\n")
print(path, path.stat().st_size, "bytes")
