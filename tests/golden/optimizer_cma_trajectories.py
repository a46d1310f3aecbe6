"""Writes optimizer_cma_trajectories.json: CMA-ES update by update, from the `cmaes` library (MIT licence).

    pip install cmaes==0.13.1 numpy && python3 tests/golden/optimizer_cma_trajectories.py

"published" is the library as it is. "hansen" is the library's update with the three places changed in which it differs from
the tutorial (arXiv 1604.00772): c_mu and the weights that follow from it, the exponent of h_sigma, the epsilon of eq. 46.
Only update steps are recorded, over genomes written to the file, so no random stream has to be shared.
"""
import json
import math
import pathlib

import cmaes
import cmaes._cma
import numpy as np


def tutorial(optimizer):
    n, lam, mu = optimizer._n_dim, optimizer._popsize, optimizer._mu
    raw = np.array([math.log((lam + 1) / 2) - math.log(i + 1) for i in range(lam)])
    minus = np.sum(raw[mu:]) ** 2 / np.sum(raw[mu:] ** 2)
    mueff, c1 = optimizer._mu_eff, optimizer._c1
    cmu = min(1 - c1, 2 * (0.25 + mueff + 1 / mueff - 2) / ((n + 2) ** 2 + mueff))
    scale = min(1 + c1 / cmu, 1 + 2 * minus / (mueff + 2), (1 - c1 - cmu) / (n * cmu))
    optimizer._cmu = cmu
    optimizer._weights = np.where(raw >= 0, raw / raw[raw > 0].sum(), scale * raw / np.abs(raw[raw < 0]).sum())
    optimizer._g = -1


def trajectory(variant, n, generations, population=None):
    cmaes._cma._EPS = 1e-8 if variant == "published" else 0.0
    bounds = np.tile([0.0, 1.0], (n, 1))
    optimizer = cmaes.CMA(mean=np.full(n, 0.5), sigma=1 / 6, bounds=bounds, seed=n, n_max_resampling=10 * n,
                          population_size=population)
    if variant == "hansen":
        tutorial(optimizer)
    rng = np.random.RandomState(100 + n)
    rotation = np.linalg.qr(rng.randn(n, n))[0]
    target = rng.uniform(0.05, 0.95, n)
    scales = 10.0 ** (4 * np.arange(n) / max(1, n - 1))
    steps = []
    for _ in range(generations):
        asked = [optimizer.ask() for _ in range(optimizer.population_size)]
        fitness = [-float(np.sum(scales * (rotation @ (x - target)) ** 2)) for x in asked]
        optimizer.tell([(x, -f) for x, f in zip(asked, fitness)])
        steps.append({"genomes": [x.tolist() for x in asked], "fitness": fitness, "mean": optimizer._mean.tolist(),
                      "sigma": float(optimizer._sigma), "covariance": optimizer._C.tolist(),
                      "sigma_path": optimizer._p_sigma.tolist(), "covariance_path": optimizer._pc.tolist()})
    return {"variant": variant, "dimension": n, "population": optimizer.population_size, "steps": steps}


runs = [trajectory(variant, n, generations, population)
        for variant in ("published", "hansen")
        for n, generations, population in ((1, 8, None), (2, 20, None), (5, 12, None), (6, 10, 9), (10, 4, 24))]
out = pathlib.Path(__file__).with_suffix(".json")
out.write_text(json.dumps({"source": f"cmaes {cmaes.__version__}", "runs": runs}, separators=(",", ":")) + "\n")
