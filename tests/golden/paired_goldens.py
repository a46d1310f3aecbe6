#!/usr/bin/env python3
"""Golden values of paired comparisons, for tests/worker/benchmark/comparison_test.cc.

    python tests/golden/paired_goldens.py > tests/worker/benchmark/testdata/paired.json

McNemar's exact test from scipy's binomial test and from statsmodels, which must agree; Holm's adjustment from statsmodels; the
paired bootstrap by numpy over the same draws (Philox4x32-10, worked out here on its own), its interval checked against
scipy.stats.bootstrap, which draws otherwise. Needs numpy, scipy, statsmodels.
"""
import json
import sys

import numpy as np
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

RESAMPLINGS = 10_000
MASK = np.uint64(0xFFFFFFFF)


def philox(key, counter, stream):
    """Philox4x32-10 (Salmon et al. 2011) for arrays of counters: four words each."""
    low = lambda x: x & MASK
    high = lambda x: x >> np.uint64(32)
    counter = np.asarray(counter, dtype=np.uint64)
    c = [low(counter), high(counter), np.full_like(counter, stream & 0xFFFFFFFF), np.full_like(counter, stream >> 32)]
    k0, k1 = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)]
        k0, k1 = low(k0 + np.uint64(0x9E3779B9)), low(k1 + np.uint64(0xBB67AE85))
    return c


def draws(seed, resampling, count):
    """The first `count` uniform numbers of a stream, 53 bits of each 64-bit draw, two draws a counter."""
    words = philox(seed, np.arange((count + 1) // 2), resampling)
    pairs = np.stack([words[1] << np.uint64(32) | words[0], words[3] << np.uint64(32) | words[2]], axis=1).ravel()[:count]
    return (pairs >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bootstrap(seed, strata, statistic):
    """strata: sample counts; statistic(indices per stratum) -> a difference."""
    differences = []
    for r in range(RESAMPLINGS):
        uniform, indices, at = draws(seed, r, sum(strata)), [], 0
        for n in strata:
            indices.append((uniform[at:at + n] * n).astype(int))
            at += n
        differences.append(statistic(indices))
    d = np.array(differences)
    low, high = np.percentile(d, [2.5, 97.5])
    p = min(1.0, 2 * (1 + min(int((d <= 0).sum()), int((d >= 0).sum()))) / (1 + RESAMPLINGS))
    return {"low": low, "high": high, "p": p}


def main():
    rng = np.random.default_rng(7)
    out = {"mcnemar": [], "holm": []}
    for b, c in [(0, 0), (1, 0), (0, 5), (10, 10), (3, 12), (40, 61), (700, 820), (0, 40), (5000, 5300)]:
        p = scipy.stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
        assert abs(p - mcnemar([[9, b], [c, 9]], exact=True).pvalue) < 1e-12 * max(1, p) or b + c == 0, (b, c)
        out["mcnemar"].append({"only_a": b, "only_b": c, "p": p})
    for p in ([0.01, 0.04, 0.03], [0.5], [0.001, 0.9, 0.02, 0.02, 0.6, 0.0004]):
        out["holm"].append({"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()})

    n = 60
    a = np.round(rng.beta(2, 2, n), 6)
    b = np.round(np.clip(a + rng.normal(-0.05, 0.15, n), 0, 1), 6)
    found = bootstrap(42, [n], lambda i: a[i[0]].mean() - b[i[0]].mean())
    theirs = scipy.stats.bootstrap((a, b), lambda x, y: np.mean(x) - np.mean(y), paired=True, vectorized=False, n_resamples=RESAMPLINGS,
                                   method="percentile", random_state=1).confidence_interval
    assert abs(theirs.low - found["low"]) < 0.003 and abs(theirs.high - found["high"]) < 0.003, (theirs, found)
    out["mean"] = {"seed": 42, "a": a.tolist(), "b": b.tolist(), "difference": a.mean() - b.mean(), **found}

    right_a, right_b = rng.random(n) < 0.7, rng.random(n) < 0.5
    found = bootstrap(3, [n], lambda i: right_a[i[0]].mean() - right_b[i[0]].mean())
    found["p"] = mcnemar([[0, int((right_a & ~right_b).sum())], [int((right_b & ~right_a).sum()), 0]], exact=True).pvalue
    out["share"] = {"seed": 3, "a": right_a.astype(int).tolist(), "b": right_b.astype(int).tolist(),
                    "difference": right_a.mean() - right_b.mean(), **found}

    # An average of two members of 20 and 40 samples, each counting alike.
    def average(x, i):
        return (x[:20][i[0]].mean() + x[20:][i[1]].mean()) / 2
    whole = [np.arange(20), np.arange(40)]
    found = bootstrap(42, [20, 40], lambda i: average(a, i) - average(b, i))
    out["average"] = {"difference": average(a, whole) - average(b, whole), **found}
    json.dump(out, sys.stdout, indent=1)
    print()


main()
