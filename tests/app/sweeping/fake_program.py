"""Stands for ``train`` and ``evaluate`` where sweeps are tested: logs, saves and is killed as they are, in no time.

``--config.quality`` is what it reaches; ``--config.dies`` kills it once in the middle; with ``--config.refuses`` it is
an error.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

program, *rest = sys.argv[1:]
flags = {}
for flag in rest:
    name, _, value = flag.partition("=")
    flags[name.removeprefix("--config.")] = value
run = Path(rest[rest.index("--workdir" if program.endswith("train") else "--run") + 1])
state = run / "state.json"
if program.endswith("evaluate"):
    score = {"psnr": json.loads(state.read_text())["quality"], "ssim": None}
    (run / "metrics.json").write_text(json.dumps({"model": {"whole": score, "lower": score}}))
    sys.exit()
if "refuses" in flags:
    print("error: no such clip", file=sys.stderr)
    sys.exit(2)
kept = json.loads(state.read_text()) if state.is_file() else {"step": 0, "quality": float(flags.get("quality", 1))}
print(f"begins at step {kept['step']}", flush=True)


def save():
    state.write_text(json.dumps(kept))


def stop(number, frame):
    save()
    print(f"stopped at {kept['step']}", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
while kept["step"] < 20:
    kept["step"] += 1
    with (run / "scalars.jsonl").open("a") as lines:
        record = {"stage": "navigate", "step": kept["step"], "loss": 1.0, "psnr": kept["quality"]}
        lines.write(json.dumps(record) + "\n")
    if kept["step"] == 10:
        save()
    if kept["step"] == 12 and "dies" in flags and not (run / "died").exists():
        (run / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(flags.get("slow", 0.02)))
save()
