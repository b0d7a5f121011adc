"""What the card does at most, and the kernels' tiles: the ceilings beside which benchmarks/generate.py puts rates."""

import statistics


def gpu_seconds(work, repeats=10):
    """Median seconds of GPU work, replayed as a CUDA graph where it can be captured."""
    import torch

    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return statistics.median(times)


def ceilings():
    """What the card does at most: GB/s of a copy, of reading, and of a matrix-vector product; TFLOP/s of a product."""
    import torch

    size = 2**31
    a, b = (torch.zeros(size // 2, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    floats, weight = a.view(torch.float32), a.view(-1, 4096)
    vector = torch.zeros(4096, dtype=torch.bfloat16, device="cuda")
    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    found = {
        "copy_gb_per_s": 2 * size / gpu_seconds(lambda: b.copy_(a)) / 1e9,
        "read_gb_per_s": size / gpu_seconds(lambda: floats.sum()) / 1e9,
        "matrix_vector_gb_per_s": size / gpu_seconds(lambda: weight @ vector) / 1e9,
        "product_tflop_per_s": 2 * 8192**3 / gpu_seconds(lambda: left @ right) / 1e12,
    }
    return {name: round(value, 1) for name, value in found.items()}


# (columns, warps) that are tried; in 8 and 4 bits (steps, warps), see Walk
WIDTHS = {
    "same": ((512, 4), (1024, 4), (1024, 8), (2048, 8)),
    "fp8": ((512, 2), (512, 4), (1024, 4), (2048, 8)),
    "int8": ((1, 4), (1, 8), (2, 4), (2, 8), (4, 4), (4, 8), (8, 8)),
    "int4": ((1, 4), (1, 8), (2, 4), (2, 8), (4, 4), (4, 8), (8, 4)),
}


def tune(run, weights):
    """The fastest tile of every weight, {name: Tile or Walk}: measured over all layers, so that nothing stays in the L2 cache."""
    import torch

    from orpheus.engines.fast.kernels.layer import KernelOperations, Tile, Walk, can_overlap
    from orpheus.engines.fast.llama import Llama, Tokens

    kind = Tile if weights in ("same", "fp8") else Walk
    candidates = [kind(rows, width, warps) for rows in (2, 4, 8, 16) for width, warps in WIDTHS[weights]]
    llama, config = Llama(run.model, weights), run.model.config
    layers, shape = llama.layers, llama.shape
    x, y, attended = (
        torch.zeros(1, n, dtype=llama.dtype, device="cuda")
        for n in (config.hidden_size, config.intermediate_size, shape.heads * shape.dim)
    )
    cache, rope, zero = llama.cache(1, 64), llama.rope(64), torch.zeros(1, dtype=torch.int64, device="cuda")
    tokens = Tokens(zero, zero, zero)
    first = cache.layer(0)
    works = {
        "qkv": lambda do, layer: do.qkv(x, layer, shape, rope, tokens, first),
        "o": lambda do, layer: do.add_product(x, attended, layer.o),
        "gate_up": lambda do, layer: do.gate_up(x, layer, shape),
        "down": lambda do, layer: do.add_product(x, y, layer.down),
    }
    inputs = {"qkv": x, "o": attended, "gate_up": x, "down": y}
    best, overlap = {}, can_overlap(llama.device)
    for name, work in works.items():
        size = sum(getattr(layer, name).nbytes for layer in layers)
        library = gpu_seconds(lambda n=name: [getattr(layer, n)(inputs[n]) for layer in layers])
        rates = {"library": round(size / library / 1e9)}
        for tile in candidates:
            if not run.due(f"tile {name} {tuple(tile)}"):
                break
            operations = KernelOperations({name: tile}, overlap)
            seconds = gpu_seconds(lambda w=work, do=operations: [w(do, layer) for layer in layers])
            rates[str(tuple(tile))] = round(size / seconds / 1e9)
            if name not in best or seconds < best[name][0]:
                best[name] = seconds, tile
        print(f"GB/s of {name}: {rates}", flush=True)
        run.report.setdefault("tiles_gb_per_s", {})[f"{weights}, {name}"] = rates
    run.report.setdefault("tiles", {})[weights] = {name: tuple(tile) for name, (_, tile) in best.items()}
    return {name: tile for name, (_, tile) in best.items()}
