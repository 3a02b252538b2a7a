"""Writes tests/fixtures/polyfit.json: polynomials by numpy, for steep's own fit to agree with.

    python reference/polyfit_fixture.py tests/fixtures/polyfit.json

Each case has pairs, and for each degree numpy's values over the fitted range: values, because coefficients of a nearly
singular system may differ where the polynomials agree.
"""

import json
import sys

import numpy as np


def cases():
    rng = np.random.default_rng(7)
    # U-shaped, as outputs move over a run; the modulated input moves most at the ends.
    t = np.linspace(0, 1, 49)
    x = np.concatenate([0.03 + 0.15 * (2 * t - 1) ** 4 + 0.004 * rng.random(49) for _ in range(8)])
    yield "run", x, 0.02 + 1.4 * x - 6 * x**2 + 30 * x**3 + 0.005 * rng.standard_normal(x.size)
    # A narrow range far from zero: x alone hardly tells its powers apart.
    x = rng.uniform(0.30, 0.31, 200)
    yield "narrow", x, np.sin(900 * x) * 0.02 + 0.1
    # Few points, and one degree that passes through all of them.
    x = np.array([0.01, 0.02, 0.05, 0.11, 0.4])
    yield "through", x, np.array([0.03, 0.01, 0.2, 0.15, 0.9])
    x = rng.exponential(0.05, 500)
    yield "long tail", x, 2 * x / (1 + 5 * x) + 0.01 * rng.standard_normal(x.size)


def main(path):
    rows = []
    for name, x, y in cases():
        at = np.linspace(x.min(), x.max(), 33)
        values = {}
        for degree in range(1, 5):
            values[str(degree)] = np.poly1d(np.polyfit(x, y, degree))(at).tolist()
        rows.append({"name": name, "x": x.tolist(), "y": y.tolist(), "at": at.tolist(), "values": values})
    with open(path, "w") as file:
        json.dump({"numpy": np.__version__, "cases": rows}, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
