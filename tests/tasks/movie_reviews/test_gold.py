"""The gold judge's two regressions against what defines them, and its features against their definition."""

import math

import numpy as np
import pytest
import scipy.sparse as sparse

from align_lab.tasks.movie_reviews import gold


def test_the_ridge_weights_solve_the_normal_equations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 90)) * (rng.random((40, 90)) < 0.2), rng.normal(size=40)
    weight = gold.ridge_weights(sparse.csr_matrix(x), y)
    np.testing.assert_allclose(weight, np.linalg.solve(x.T @ x + np.eye(90), x.T @ y), atol=1e-8)


def test_the_logistic_weights_leave_no_gradient():
    rng = np.random.default_rng(1)
    x = np.c_[rng.normal(size=(200, 3)), np.ones(200)]
    y = (rng.random(200) < 1 / (1 + np.exp(-x @ [1.0, -2.0, 0.5, 0.3]))).astype(float)
    weight = gold.logistic_weights(x, y)
    gradient = x.T @ (y - 1 / (1 + np.exp(-x @ weight))) - weight / 100
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_bags_have_unit_norm_for_words_and_for_characters_and_a_word_said_twice_adds_nothing():
    idf = gold.inverse_frequency(["good film", "bad film", "good good film"])
    rows = gold.bags(["good film", "good film good film", "unseen"], idf).toarray()
    norms = [np.linalg.norm(rows[:2, part], axis=1) for part in (slice(gold.SIZE), slice(gold.SIZE, None))]
    np.testing.assert_allclose(norms, 1, rtol=1e-6)
    assert np.count_nonzero(rows[0]) == np.count_nonzero(rows[1])  # the pair 'film good' occurs in no review
    assert not rows[2].any()


def test_the_inverse_frequency_counts_reviews_and_not_occurrences():
    idf = gold.inverse_frequency(["good good", "good", "bad", "film"])
    assert idf[gold.hashed("good")] == pytest.approx(math.log((1 + 4) / (1 + 2)) + 1)
    assert (idf > 0).sum() == len(set().union(*map(gold.hashed, ["good good", "bad", "film"])))
