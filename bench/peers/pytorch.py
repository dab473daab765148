"""The shared benchmark in PyTorch on one CPU thread: pytorch.py INPUTS_FOLDER lora|full STEPS

Debian's OpenBLAS does not know newer processors and falls back to its slowest kernel, so the right one is named before
the library is loaded. Prints one line of JSON: ms, losses and a note.
"""

import json
import os
import sys
import time

OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-pthread"

if "OPENBLAS_CORETYPE" not in os.environ:
    flags = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    core = "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else ""
    os.environ.pop("OPENBLAS_L2_SIZE", None)
    os.environ.update(OPENBLAS_CORETYPE=core, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if os.path.isdir(OPENBLAS):
        os.environ["LD_LIBRARY_PATH"] = OPENBLAS
    os.execv(sys.executable, [sys.executable, *sys.argv])  # a process reads its library path only when it starts

import numpy as np
import torch
from torch.nn import functional as f

folder, mode, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
with open(f"{folder}/layout.json") as file:
    layout = json.load(file)
L, D, H, V, T, B, R = (layout[key] for key in ("L", "D", "H", "V", "T", "B", "r"))
lora = mode == "lora"


def tensor(file, offset, shape):
    count = int(np.prod(shape))
    return torch.from_numpy(np.fromfile(f"{folder}/{file}", "<f4", count, offset=4 * offset).reshape(shape))


weights = "base.bin" if lora else "init.bin"
w = {entry["name"]: tensor(weights, entry["offset"], entry["shape"]) for entry in layout["layout"]}
trained = list(w.values())
if lora:
    for i in range(L):
        w[f"A{i}"], w[f"B{i}"] = tensor("loraA.bin", i * D * R, [D, R]), torch.zeros(R, 3 * D)
    trained = [w[f"{factor}{i}"] for i in range(L) for factor in "AB"]
for parameter in trained:
    parameter.requires_grad_(True)
mask = torch.full((T, T), float("-inf")).triu(1)


def loss_of(x, y):
    h = w["wte"][x] + w["wpe"]
    for i in range(L):
        dense = lambda x, part: torch.addmm(w[f"h{i}.{part}_b"], x, w[f"h{i}.{part}_w"])
        norm = lambda x, part: f.layer_norm(x, (D,), w[f"h{i}.{part}_g"], w[f"h{i}.{part}_b"]).view(-1, D)
        u = norm(h, "ln1")
        qkv = dense(u, "qkv")
        if lora:
            qkv = qkv + (u @ w[f"A{i}"]) @ w[f"B{i}"] * (layout["alpha"] / R)
        q, k, v = (part.view(B, T, H, D // H).transpose(1, 2) for part in qkv.split(D, 1))
        seen = ((q @ k.transpose(-1, -2)) * (D // H) ** -0.5 + mask).softmax(-1) @ v
        h = h + dense(seen.transpose(1, 2).reshape(-1, D), "o").view(B, T, D)
        h = h + dense(f.gelu(dense(norm(h, "ln2"), "fc"), approximate="tanh"), "pr").view(B, T, D)
    last = f.layer_norm(h, (D,), w["lnf_g"], w["lnf_b"]).view(-1, D)
    return f.cross_entropy(last @ w["wte"].t(), y.reshape(-1))


adamw = layout["adamw"]
optimizer = torch.optim.AdamW(
    trained, lr=adamw["lr"], betas=(adamw["b1"], adamw["b2"]), eps=adamw["eps"], weight_decay=adamw["wd"]
)
tokens = np.fromfile(f"{folder}/tokens{'B' if lora else 'A'}.i32", "<i4").reshape(-1, B, T + 1)
ms, losses = [], []
for step in range(steps):
    batch = torch.from_numpy(tokens[step % len(tokens)].astype(np.int64))
    start = time.perf_counter()
    loss = loss_of(batch[:, :-1], batch[:, 1:])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
    ms.append(1000 * (time.perf_counter() - start))

with open("/proc/self/maps") as file:
    blas = "OpenBLAS" if "openblas" in file.read() else "reference BLAS"
print(json.dumps({"ms": ms, "losses": losses, "note": f"torch {torch.__version__}, {blas}"}))
