"""Estimators on tables, as scikit-learn knows them: `fit`, `predict`, fitted attributes that end in `_`.

Each takes arrays, DataFrames and, where the method allows, sparse matrices, and passes scikit-learn's own
`check_estimator`.
"""

__all__: list[str] = []
