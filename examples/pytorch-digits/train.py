"""Train a digit classifier: python train.py --epochs 3"""

import argparse

import torch
from data import get_loaders
from model import DigitNet
from torch import nn


def train(model, loader, epochs, lr, seed=0):
    torch.manual_seed(seed)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        print(f"epoch {epoch}: loss {total / len(loader.dataset):.4f}")


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    loss, correct = 0.0, 0
    for images, labels in loader:
        logits = model(images)
        loss += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="digits.pt")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = DigitNet()
    train_loader, test_loader = get_loaders(args.batch_size)
    train(model, train_loader, args.epochs, args.lr, seed=args.seed)
    loss, accuracy = evaluate(model, test_loader)
    print(f"test loss {loss:.4f}, accuracy {accuracy:.1%}")
    torch.save(model.state_dict(), args.output)


if __name__ == "__main__":
    main()
