"""Writes hypervolumes.json: sets of points and the volume they dominate, by pymoo (Apache-2.0).

    pip install pymoo==0.6.2 numpy && python3 tests/golden/hypervolumes.py

Points lie on a sphere's positive part (a front), in a cube (many dominated, some below the reference) or on a coarse grid
(ties). Larger is better here, smaller in pymoo, hence the signs.
"""
import json
import pathlib

import numpy as np
from pymoo.indicators.hv import HV


def points(kind, objectives, count, rng):
    if kind == "sphere":
        x = np.abs(rng.normal(size=(count, objectives)))
        return x / np.linalg.norm(x, axis=1, keepdims=True)
    if kind == "grid":
        return rng.integers(0, 5, size=(count, objectives)) / 4
    return rng.uniform(-0.2, 1, size=(count, objectives))


def main():
    rng = np.random.default_rng(20261129)
    cases = []
    for objectives, counts in {2: (1, 7, 60), 3: (1, 7, 60), 4: (7, 30), 5: (7, 20), 6: (12,), 8: (10,)}.items():
        for kind in ("sphere", "cube", "grid"):
            for count in counts:
                x = np.round(points(kind, objectives, count, rng), 4)
                reference = np.round(rng.uniform(-0.3, 0.1, size=objectives), 4)
                volume = float(HV(ref_point=-reference)(-x))
                cases.append({"name": f"{kind} {objectives} objectives {count} points", "reference": reference.tolist(),
                              "points": x.tolist(), "volume": volume})
    lines = ",\n".join(json.dumps(case) for case in cases)
    pathlib.Path(__file__).with_name("hypervolumes.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
