"""How benchmarks/train.py shows its results: on the screen, and as rows of docs/speed.md."""

import statistics

from benchmarks.common import quality

EQUAL_EXAMPLES = 16  # in a step, as with the peers but the notebook
SHOWN = (1, 25, 50, 100)


def share(rate, flop, probe):
    return round(rate * flop / probe, 4) if probe else None


def percent(value):
    return "" if value is None else f"{value * 100:5.1f} %"


def show(name, result):
    if "failed" in result:
        return print(f"{name:44} failed: {result['failed'][-800:]}", flush=True)
    memory = "" if result["peak_gib"] is None else f"{result['peak_gib']:7.2f} GiB"
    print(
        f"{name:44} {result['median_tokens_per_second']:9.0f} {result['mean_tokens_per_second']:9.0f} "
        f"{percent(result.get('share')):>8} {memory:>11}  loss {result['losses'][0]:.3f} -> {result['losses'][-1]:.3f}",
        flush=True,
    )


def show_curves(curves):
    print("\nmean loss of step     " + " ".join(f"{step:>9}" for step in SHOWN))
    for name, losses in curves.items():
        print(
            f"{name:21} " + " ".join(f"{losses[step - 1]:9.4f}" if step <= len(losses) else " " * 9 for step in SHOWN)
        )
    if {"ours", "unsloth"} <= curves.keys():
        ours, theirs = curves["ours"], curves["unsloth"]
        gaps = [abs(a - b) for a, b in zip(ours, theirs)]
        print(f"largest difference of a step {max(gaps):.4f}, mean {statistics.mean(gaps):.4f}")


def table_rows(report):
    """For docs/speed.md: the fastest setting of ours beside each peer, and that with as many examples a step as the peer has."""
    ours = [result for result in report["ours"] if "failed" not in result]
    if not ours:
        return []
    rows, about = [], f"LoRA training, rank {report['rank']}, examples of {report['row_tokens']:.0f} tokens"
    equal = [result for result in ours if result.get("examples") == EQUAL_EXAMPLES]
    peers = [peer for peer in report["peers"] if peer.get("median_tokens_per_second")]
    alike = [peer for peer in peers if peer.get("batch", 1) * peer.get("accumulation", 1) == EQUAL_EXAMPLES]
    sides = (f"{about}: tokens/s", ours, peers), (f"{about}, {EQUAL_EXAMPLES} a step: tokens/s", equal, alike)
    for what, mine, theirs in sides:
        if not mine:
            continue
        best = max(mine, key=_rate)
        row = {
            "what": what,
            "ours": f"{_rate(best):,.0f} ({best['what']}, {best['head']}{', --fp8' if best['fp8'] else ''})",
        }
        without = [result for result in mine if not result["fp8"]]
        if best["fp8"] and without:
            row["ours"] += f"; {max(map(_rate, without)):,.0f} without"
        named = [
            {"peer": peer["peer"], "theirs": f"{_rate(peer):,.0f}", "ratio": _rate(best) / _rate(peer)}
            for peer in theirs
        ]
        rows += [row | one for one in named or [{}]]
    return rows + quality.quality_rows(report["quality"])


def _rate(result):
    return result["median_tokens_per_second"]
