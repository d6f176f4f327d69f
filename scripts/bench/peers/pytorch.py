"""Timed PyTorch tasks, driven over standard input and output.

One JSON object per line in, one out. Timing happens here, so that the pipe costs nothing.
  {"op": "hello", "threads": n}                    -> {"version": ..., "cuda": name or null}
  {"op": "open", "task": {...}, "device": "cpu"}   -> {"ok": true}
  {"op": "time", "times": n}                       -> {"ms": ...}
  {"op": "result", "path": file}                   -> {"dtype": "float32" or "int32"}
  {"op": "memory"}                                 -> {"bytes": the process's peak}
  {"op": "close"}                                  -> {"ok": true}
Tensors come as {"path": file, "shape": [...], "dtype": ...}: raw elements.
"""

import json
import pathlib
import re
import sys
import time

import numpy
import torch
import torch.nn.functional as F


def load(spec, device):
    data = numpy.fromfile(spec["path"], dtype=spec["dtype"]).reshape(spec["shape"])
    return torch.from_numpy(data).to(device)


def pooling(task, device):
    """Threshold the masks, resized where they must be, and one product with the features."""
    features = load(task["features"], device)
    logits = load(task["maskLogits"], device)

    def run():
        x = features.flatten(1)
        m = logits
        if m.shape[1:] != features.shape[1:]:
            m = F.interpolate(
                m[None], size=features.shape[1:], mode="bilinear", align_corners=False
            )[0]
        a = (m > 0).to(x.dtype).flatten(1)
        return [torch.einsum("np,dp->nd", a, x) / (a.sum(1, keepdim=True) + 1e-8)]

    return run


def gfa(task, device):
    """The small system with torch.linalg.solve."""
    clip = load(task["clip"], device)
    query = load(task["query"], device)
    omega, lam = task["omega"], task["lambda"]

    def run():
        c = F.normalize(clip, dim=1)
        q = F.normalize(query, dim=1)
        z = torch.softmax(lam * (c @ q.T), dim=1)
        p = (z / z.sum(0, keepdim=True)).T
        system = torch.eye(len(q), device=c.device) - omega**2 * (p @ z)
        fused = torch.linalg.solve(system, (1 - omega) * (q + omega * (p @ c)))
        return [omega * (z @ fused) + (1 - omega) * c, fused]

    return run


def classification(task, device):
    """Mask2Former's semantic inference: interpolate, sigmoid, einsum, maximum.

    In bands of rows with the classes last, and groups of classes that keep the scores near 64 MB:
    faster here than the whole C x H x W at once, and able to do 20,000 classes.
    """
    logits = load(task["maskLogits"], device)
    probabilities = load(task["probabilities"], device)
    size = (task["height"], task["width"])
    rows = 64
    fits = max(1, int(64e6 // (4 * rows * size[1])))
    count = -(-probabilities.shape[1] // fits)
    groups = torch.chunk(probabilities, count, dim=1)

    def run():
        m = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
        m = m.sigmoid_()
        labels = torch.empty(size, dtype=torch.int32, device=m.device)
        scores = torch.empty(size, device=m.device)
        for row in range(0, size[0], rows):
            weights = m[:, row : row + rows].flatten(1)
            best = None
            first = 0
            for group in groups:
                score, label = torch.einsum("qc,qp->pc", group, weights).max(1)
                if best is None:
                    best, found = score, label
                else:
                    better = score > best
                    best = torch.where(better, score, best)
                    found = torch.where(better, label + first, found)
                first += group.shape[1]
            labels[row : row + rows] = found.view(-1, size[1])
            scores[row : row + rows] = best.view(-1, size[1])
        return [labels, scores]

    return run


def network(task, device):
    """A network's forward pass, or steps of its training: forward, backward, AdamW."""
    import pytorch_networks

    flat = load(task["parameters"], device)
    given = {}
    for entry in task["entries"]:
        part = flat[entry["offset"] :][: numpy.prod(entry["shape"], dtype=int)]
        given[entry["name"]] = part.view(entry["shape"])
    module = pytorch_networks.build(task["kind"], task["config"], given).to(device)
    inputs = [load(tensor, device) for tensor in task["inputs"]]
    if task["pass"] == "forward":
        return lambda: module(*inputs)

    optimizer = torch.optim.AdamW(module.parameters(), lr=task["learningRate"])
    losses = []

    def step():
        optimizer.zero_grad()
        loss = module.loss(*inputs)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        return losses[:3]

    def run():
        # What runs elsewhere is without gradients.
        with torch.inference_mode(False), torch.enable_grad():
            return step()

    return run


tasks = {"pooling": pooling, "gfa": gfa, "classification": classification, "network": network}


def main():
    run = None
    device = "cpu"

    def settle():
        if device != "cpu":
            torch.cuda.synchronize()

    for line in sys.stdin:
        request = json.loads(line)
        op = request["op"]
        try:
            training = op == "open" and request["task"].get("pass") == "training step"
            with torch.inference_mode(not training):
                if op == "hello":
                    torch.set_num_threads(request["threads"])
                    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
                    answer = {"version": torch.__version__, "cuda": cuda}
                elif op == "open":
                    device = request["device"]
                    task = request["task"]
                    run = tasks[task["kernel"]](task, device)
                    answer = {"ok": True}
                elif op == "time":
                    settle()
                    begin = time.perf_counter()
                    for _ in range(request["times"]):
                        run()
                        settle()
                    answer = {"ms": 1e3 * (time.perf_counter() - begin)}
                elif op == "result":
                    outputs = run()
                    # Of a classification the labels are compared, of the others everything.
                    if outputs[0].dtype == torch.int32:
                        outputs = outputs[:1]
                    flat = torch.cat([output.flatten() for output in outputs]).cpu().numpy()
                    flat.tofile(request["path"])
                    answer = {"dtype": str(flat.dtype)}
                elif op == "memory":
                    # What getrusage counts would include the process that started this one.
                    status = pathlib.Path("/proc/self/status").read_text()
                    kib = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
                    answer = {"bytes": 1024 * kib}
                elif op == "close":
                    run = None
                    answer = {"ok": True}
                else:
                    answer = {"error": f"unknown op {op}"}
        except Exception as error:  # The other side reports it in the row.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
