"""Scores of models of rows equal those of scikit-learn, where it has them, and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from everloop.stats.row_scores import calibration_error, classify, log_losses, regress


def test_regression_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=200)
    predicted = truth + 0.3 * rng.normal(size=200) + 0.1
    found = regress([*predicted, np.nan], [*truth, 1.0])
    assert found.n == 200
    assert found.mae == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert found.rmse == pytest.approx(np.sqrt(metrics.mean_squared_error(truth, predicted)))
    assert found.r2 == pytest.approx(metrics.r2_score(truth, predicted))
    assert found.bias == pytest.approx((predicted - truth).mean())
    assert regress([], []).mae is None
    assert regress([1.0, 2.0], [3.0, 3.0]).r2 is None


@pytest.mark.parametrize("classes", [2, 3])
def test_classification_equals_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    raw = rng.gamma(1.0, size=(300, classes))
    p = np.round(raw / raw.sum(axis=1, keepdims=True), 2)  # with ties
    p[:, 0] += 1 - p.sum(axis=1)
    truth = np.array([rng.choice(classes, p=np.clip(row, 0, None) / np.clip(row, 0, None).sum()) for row in p])
    p = np.clip(p, 0.001, None)
    p /= p.sum(axis=1, keepdims=True)
    found = classify(p.argmax(axis=1), truth, p)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, p.argmax(axis=1)))
    assert found.log_loss == pytest.approx(metrics.log_loss(truth, p))
    if classes == 2:
        assert found.auc == pytest.approx(metrics.roc_auc_score(truth, p[:, 1]))
        assert found.brier == pytest.approx(2 * metrics.brier_score_loss(truth, p[:, 1]))
    else:
        assert found.auc is None


def test_calibration_is_small_for_honest_probabilities_and_large_for_bold_ones() -> None:
    rng = np.random.default_rng(5)
    p = rng.uniform(0.5, 1.0, 20_000)
    honest = calibration_error(p, rng.uniform(size=p.size) < p)
    bold = calibration_error(p, rng.uniform(size=p.size) < 0.5)
    assert honest is not None
    assert bold is not None
    assert honest < 0.02
    assert bold == pytest.approx(0.25, abs=0.03)
    assert calibration_error(p[:10], p[:10] > 0) is None


def test_labels_alone_and_what_cannot_be_scored() -> None:
    found = classify([0, -1, 1], [0, 1, 1])
    assert (found.accuracy, found.log_loss) == (pytest.approx(2 / 3), None)
    assert classify([], []).accuracy is None
    assert classify([1, 1], [1, 1], [[0.1, 0.9], [0.2, 0.8]]).auc is None, "one class only"
    with pytest.raises(ValueError, match="column"):
        log_losses([2], [[0.5, 0.5]])
    assert np.isfinite(log_losses([0], [[0.0, 1.0]])).all()
