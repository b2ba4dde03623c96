import numpy as np

import convkit
from convkit import nn
from convkit.nn import functional as F


def test_layers_are_their_functions():
    x, y = convkit.randn(3, 4), convkit.randn(3, 4)
    assert np.array_equal(nn.CosineSimilarity(0, 0.1)(x, y).numpy(), F.cosine_similarity(x, y, 0, 0.1).numpy())
    assert np.array_equal(nn.PairwiseDistance(1, 0.1, True)(x, y).numpy(), F.pairwise_distance(x, y, 1, 0.1, True).numpy())
    assert nn.PairwiseDistance().norm == 2 and repr(nn.CosineSimilarity()) == "CosineSimilarity()"
