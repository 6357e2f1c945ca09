"""Medians and ratios of a run, as a table in Markdown and as JSON."""
import statistics


def median(costs, key):
    return statistics.median(cost[key] for cost in costs)


def summary(scenario, costs):
    """What the JSON holds of one scenario."""
    builders = {}
    for name, list_ in costs.items():
        builders[name] = {
            "wall": round(median(list_, "wall"), 5), "cpu": round(statistics.median(c["user"] + c["system"] for c in list_), 5),
            "fastest": round(min(c["wall"] for c in list_), 5), "slowest": round(max(c["wall"] for c in list_), 5),
            "peak_mib": round(max(c["peak_kib"] for c in list_) / 1024, 2), "archive_bytes": list_[-1].get("archive_bytes", 0),
            "rounds": len(list_)}
    floor = builders.pop("floor", None)
    ours = costs.get("imgbuild")
    ratios = {}
    if ours:
        for name, list_ in costs.items():
            if name in ("imgbuild", "floor"):
                continue
            pairs = [theirs["wall"] / mine["wall"] for mine, theirs in zip(ours, list_)]
            ratios[name] = round(statistics.median(pairs), 2)
    return {"name": scenario.name, "title": scenario.title, "target_seconds": scenario.target_seconds,
            "target_peak_mib": scenario.target_peak_mib, "target_bytes_of": scenario.target_bytes_of,
            "floor": {"what": scenario.floor_title, "wall": floor["wall"], "cpu": floor["cpu"]} if floor else None,
            "builders": builders, "times_as_long": ratios}


def _seconds(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _row(result, names):
    cells = [result["title"]]
    ours = result["builders"].get("imgbuild")
    for name in names:
        got = result["builders"].get(name)
        if got is None:
            cells.append("–")
            continue
        cell = _seconds(got["wall"]) + " s"
        if name in result["times_as_long"]:
            cell += f" ({result['times_as_long'][name]}×)"
        cells.append(cell)
    cells.append(f"{result['target_seconds']} s")
    floor = result["floor"]
    cells.append(f"{_seconds(floor['wall'])} s, {floor['what']}" if floor else "–")
    cells.append(f"{_seconds(ours['cpu'])} s" if ours else "–")
    cells.append(f"{ours['peak_mib']:.1f} MiB" if ours else "–")
    notes = []
    if ours and ours["wall"] > result["target_seconds"]:
        notes.append("over its time")
    if ours and result["target_peak_mib"] and ours["peak_mib"] > result["target_peak_mib"]:
        notes.append(f"over {result['target_peak_mib']:g} MiB")
    other = result["builders"].get(result["target_bytes_of"] or "")
    if ours and other:
        notes.append(f"{100 * ours['archive_bytes'] / other['archive_bytes'] - 100:+.1f} % bytes of {result['target_bytes_of']}")
    cells.append(", ".join(notes))
    return "| " + " | ".join(cells) + " |"


def table(results, names):
    """A ratio in brackets says how many times as long as imgbuild that builder took, pair by pair."""
    head = ["scenario", *names, "target", "floor", "imgbuild's processor time", "imgbuild's peak", "remarks"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + [_row(result, names) for result in results]) + "\n"
