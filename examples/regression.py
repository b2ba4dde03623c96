"""Fit a polynomial to noisy points: the smallest training loop there is.

    python examples/regression.py [--quick]

The points lie on y = 1 - 2x + 0.5x^3; the printed coefficients come close to 1, -2, 0 and 0.5.
"""

import sys

import convkit
from convkit import nn, optim
from convkit.nn import functional as F

convkit.manual_seed(0)
x = convkit.rand(200, 1) * 4 - 2
y = 1 - 2 * x + 0.5 * x**3 + 0.1 * convkit.randn(200, 1)
powers = convkit.cat([x, x**2, x**3], 1)  # [200, 3]

model = nn.Linear(3, 1)
optimizer = optim.Adam(model.parameters(), lr=0.05)
steps = 300 if "--quick" in sys.argv else 1000
for step in range(steps + 1):
    loss = F.mse_loss(model(powers), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % (steps // 4) == 0:
        print(f"step {step:4}  loss {loss.item():.4f}")

a, (b, c, d) = model.bias.tolist()[0], model.weight.tolist()[0]
print(f"y = {a:.2f} {b:+.2f} x {c:+.2f} x^2 {d:+.2f} x^3")
