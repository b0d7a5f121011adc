"""Time to quality: seconds and steps until the held-out loss that the notebook's setting has after one pass.

Everyone trains on the same examples from the same weights, at 2e-4 and with transformers' linear schedule, as everyone does: for
one pass, and where that is not enough anew for two, three and four. The first of these schedules that gets there counts, up to the
step where it does. What is compiled was compiled before, and looking at the held-out loss takes no time.
"""

import time

EXAMPLES, HELD_OUT = 256, 32
MOST_PASSES = 4
LOOKS = 8  # at the held-out loss in a pass
SLACK = 0.02  # of the fall that the notebook reaches: the same steps in another order end about so far apart


def watched(work, steps, loss, target=0.0, looks=LOOKS):
    """[{"step", "seconds", "loss"}] of `work(examples, number)` over the examples of each step, until the loss is `target`.

    loss: gives the held-out loss; looks: how often it is asked
    """
    from benchmarks.common.training import (
        synchronize,  # here, since Unsloth's process must not import transformers first
    )

    due = {round(len(steps) * look / looks) for look in range(1, looks + 1)}
    points, seconds = [], 0.0
    for number, examples in enumerate(steps, 1):
        synchronize()
        began = time.perf_counter()
        work(examples, number - 1)
        synchronize()
        seconds += time.perf_counter() - began
        if number in due:
            points.append({"step": number, "seconds": round(seconds, 2), "loss": round(loss(), 4)})
            if good(points[-1], target):
                break
    return points


def goal(before, after):
    """The loss to reach, where the notebook's setting goes from one to the other."""
    return after + SLACK * (before - after)


def good(point, target):
    return point["loss"] <= target


def until(points, target):
    """Points up to the first that is good, all where none is."""
    first = next((place for place, point in enumerate(points) if good(point, target)), len(points))
    return points[: first + 1]


def time_to_quality(train, target, most_passes=MOST_PASSES):
    """What the first sufficient schedule took, or the last loss of the longest one.

    train: number of passes -> points as `watched` gives them
    """
    for passes in range(1, most_passes + 1):
        points = train(passes)
        if points and good(points[-1], target):
            return {"reached": True, "passes": passes, **points[-1]}
    return {"reached": False, "passes": most_passes, **(points[-1] if points else {})}


def in_words(result):
    if "failed" in result:
        return f"failed: {result['failed'][-300:]}"
    passes = f"{result['passes']} pass" + ("es" if result["passes"] > 1 else "")
    if not result.get("step"):
        return "no time"
    if not result["reached"]:
        return f"not in {passes}: {result['loss']:.3f} after {result['seconds']:.1f} s"
    return f"{result['seconds']:8.1f} s {result['step']:6} steps   (of {passes}, loss {result['loss']:.3f})"


def quality_rows(quality):
    """For docs/speed.md: ours beside each peer."""
    ours = [s for s in quality["systems"] if s["name"].startswith("ours") and s.get("reached")]
    if not ours:
        return []
    best = min(ours, key=lambda system: system["seconds"])
    what = "LoRA training: seconds until the held-out loss of the notebook's setting after one pass"
    mine, rows = f"{best['seconds']:.1f} ({best['step']} steps)", []
    for system in quality["systems"]:
        if system["name"].startswith("ours") or not system.get("step"):
            continue
        theirs = f"{system['seconds']:.1f} ({system['step']} steps)"
        row = {"what": what, "ours": mine, "peer": system["name"]}
        if system["reached"]:
            row |= {"theirs": theirs, "ratio": system["seconds"] / best["seconds"]}
        else:
            row["theirs"] = f"not reached in {theirs}"
        rows.append(row)
    return rows or [{"what": what, "ours": mine}]
