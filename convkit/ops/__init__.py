"""Operations on tensors, one family a file: a `Function` with forward and backward, and the function people call.

`convkit.nn.functional` and the methods of `Tensor` are names for what stands here.
"""
