from normkit.papers import Context, Ledger, Records, Show, hierarchical_poly

LAYERWISE = {2: 0.8, 4: 0.5, 8: 0.35, 16: 0.2, 32: 0.15}


def _records(
    errors=LAYERWISE, kernel=0.52, exact=1e-9, few=0.65, near=0.1, other=0.6, mlp=0.5, gap=1e-9, late=0.0, stage_1=0.62
):
    """What the paper finds: `late` is added to the network's error at d = 20."""
    rows = [
        {"learner": "layer-wise", "d": d, "ratio": r, "error": e + late * (d == 20), "stage_1": stage_1}
        for d in (12, 16, 20, 32, 64)
        for r, e in errors.items()
    ]
    rows += [{"learner": "poly-4 kernel", "d": 12, "ratio": 16, "error": exact}]
    rows += [{"learner": "poly-4 kernel", "d": 16, "ratio": 2, "error": few}]
    rows += [{"learner": "poly-4 kernel", "d": d, "ratio": r, "error": near} for d, r in ((12, 8), (16, 16))]
    rows += [{"learner": "poly-4 kernel", "d": 20, "ratio": 8, "error": kernel}]
    rows += [
        {"learner": name, "d": 16, "ratio": r, "error": other} for name in hierarchical_poly.OTHERS for r in (4, 8)
    ]
    rows = [row | {"link": "quadratic", "correlation": 0.9} for row in rows]
    cubic = {"layer-wise": 0.61, "end-to-end MLP": mlp}
    rows += [{"learner": name, "d": 16, "ratio": 16, "link": "cubic", "error": e} for name, e in cubic.items()]
    return Records([row | {"seed": 0, "run": "any"} for row in rows] + [{"run": "descent", "seed": 0, "gap": gap}])


def _verdicts(**changes):
    claim = Ledger("embedded", 1)
    hierarchical_poly.judge(_records(**changes), claim, Show())
    return [entry.holds for entry in claim.claims]


def test_the_judge_tells_the_paper_from_its_opposite():
    assert _verdicts() == [True] * 22
    assert _verdicts(errors=dict.fromkeys(LAYERWISE, 0.9)).count(False) == 10
    assert _verdicts(late=0.05)[5:9] == [True, False, True, True]
    assert _verdicts(stage_1=0.3)[9] is False
    assert _verdicts(gap=1e-5)[10] is False
    assert _verdicts(kernel=0.3)[12] is False
    assert _verdicts(other=0.3)[13:17] == [False] * 4
    assert _verdicts(exact=0.1)[17] is False
    assert _verdicts(few=0.9)[18] is False
    assert _verdicts(near=0.3)[19:21] == [True, False]
    assert _verdicts(mlp=0.7)[21] is False


def test_a_claim_about_two_learners_compares_the_seeds_that_both_have():
    rows = [("a", 0, 0.5), ("a", 1, 0.1), ("b", 0, 0.3)]
    records = Records({"learner": name, "seed": seed, "error": error, "d": 1} for name, seed, error in rows)
    found = hierarchical_poly._behind(records, "a", "b", d=1)
    assert found["n"] == 1
    assert abs(found["measured"] - 0.2) < 1e-12


def test_learners_are_compared_seed_by_seed():
    errors = {"a": (0.5, 0.1, 0.4), "b": (0.3, 0.3, 0.3)}
    records = Records(
        {"learner": name, "seed": seed, "error": error}
        for name, row in errors.items()
        for seed, error in enumerate(row)
    )
    assert hierarchical_poly._worse(records, "a", "b") == {"measured": 2 / 3, "n": 3}


def test_no_data_are_measured_twice(monkeypatch):
    monkeypatch.setattr(hierarchical_poly, "_measured", lambda ctx, *job: {"job": job})
    runs = (hierarchical_poly.layerwise, hierarchical_poly.others)
    jobs = [row["job"] for run in runs for row in run(Context("embedded", 0)) if row["job"][0] == "layer-wise"]
    assert len(jobs) == len(set(jobs)) == 15


def test_every_learner_sees_the_same_data():
    first, second = (hierarchical_poly._split(Context("smoke", 3), 4, 20) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert len(first[0]) == 20
    assert len(first[2]) == len(first[4]) == 4000
