#!/usr/bin/env python3
"""python3 query.py QUESTION: the passages that are nearest to it in meaning, also during a build."""
import base64
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "modules"))
import numpy as np
from minilm import Model
from pipelinefile import load

question = " ".join(sys.argv[1:]) or sys.exit(__doc__)
index = load("index", Path(__file__).parent)["index"].json()
vectors = np.frombuffer(base64.b64decode(index["vectors"]), dtype=np.int8).reshape(len(index["ids"]), -1) / 127
score = vectors @ Model().encode([question])[0]
for n in np.argsort(-score)[:5]:
    print(f"{score[n]:.2f}  {index['ids'][n]}  {index['texts'][n][:70]}")
