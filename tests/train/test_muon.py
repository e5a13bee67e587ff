"""Muon in float32 against the singular value decomposition and against PyTorch's, which iterates in bfloat16."""

import pytest
import torch

from align_lab.train.muon import COEFFICIENTS, Muon, orthogonalize

SHAPES = [(6, 6), (12, 5), (5, 12)]


def matrix(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_iteration_is_an_odd_polynomial_of_the_singular_values(shape):
    left, values, right = torch.linalg.svd(matrix(shape), full_matrices=False)
    values = values / values.square().sum().sqrt()
    a, b, c = COEFFICIENTS
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    torch.testing.assert_close(orthogonalize(matrix(shape)), left @ torch.diag(values) @ right)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_coefficients_that_converge_it_is_the_polar_factor(shape):
    left, _, right = torch.linalg.svd(matrix(shape), full_matrices=False)
    polar = orthogonalize(matrix(shape), coefficients=(15 / 8, -10 / 8, 3 / 8), rounds=30)  # Taylor of x / √x²
    torch.testing.assert_close(polar, left @ right)


@pytest.mark.parametrize("shape", [(128, 128), (704, 128), (128, 352)])
def test_singular_values_of_a_large_matrix_come_near_1(shape):
    values = torch.linalg.svdvals(orthogonalize(matrix(shape).float()))
    assert values.median() == pytest.approx(0.9, abs=0.2) and values.max() < 1.25
    assert (values > 0.65).float().mean() > 0.95  # the smallest of a square matrix need more rounds


@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_of_zeros_stays_what_it_is(shape):
    assert torch.equal(orthogonalize(torch.zeros(shape)), torch.zeros(shape))


def test_ten_steps_are_those_of_pytorch_within_the_precision_of_bfloat16():
    gradients = [[matrix(shape, seed=10 * step + i).float() for i, shape in enumerate(SHAPES)] for step in range(10)]
    ends = []
    for optimizer in (Muon, torch.optim.Muon):
        weights = [torch.nn.Parameter(matrix(shape, seed=99).float()) for shape in SHAPES]
        stepper = optimizer([{"params": weights, "lr": 0.1}], momentum=0.95, weight_decay=0.5)
        for row in gradients:
            for weight, gradient in zip(weights, row, strict=True):
                weight.grad = gradient.clone()
            stepper.step()
        ends.append(torch.cat([weight.detach().flatten() for weight in weights]))
    start = torch.cat([matrix(shape, seed=99).float().flatten() for shape in SHAPES])
    assert (ends[0] - ends[1]).norm() < 0.02 * (ends[1] - start).norm()
