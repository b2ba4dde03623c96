"""A CNN for handwritten digits, written out by hand: layers, loop and test, without `convkit.train`.

    python examples/mnist_cnn.py --data-dir ~/data/mnist     # MNIST: about 0.99 after 3 epochs
    python examples/mnist_cnn.py [--quick]                   # the digits that come with convkit: about 0.98

With PyTorch only the imports and the data would be others.
"""

import argparse

import convkit
from convkit import data, nn, optim
from convkit.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", help="folder with the four MNIST files")
parser.add_argument("--quick", action="store_true", help="few images, few epochs")
args = parser.parse_args()

name = "mnist" if args.data_dir else "digits"
train, test = (data.load(name, args.data_dir, split) for split in ("train", "test"))
if args.quick:
    train = data.Subset(train, range(min(len(train), 1000)))
epochs = 5 if args.quick else 3 if args.data_dir else 20

convkit.manual_seed(0)
side = test.image_shape[1] // 4  # of the images after two poolings
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * side * side, 10),
)  # fmt: skip
optimizer = optim.Adam(model.parameters(), lr=2e-3)

for epoch in range(1, epochs + 1):
    model.train()
    for images, labels in data.DataLoader(train, batch_size=64, shuffle=True, seed=epoch):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with convkit.no_grad():
        right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in data.DataLoader(test, batch_size=256))
    print(f"epoch {epoch}  loss {loss.item():.4f}  test accuracy {right / len(test):.4f}")
