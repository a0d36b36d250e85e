"""Short restaurant reviews, good or bad, and a word-level tokenizer for them."""

import csv
from pathlib import Path

import torch
from torch.utils.data import Dataset

FILE = Path(__file__).with_name("reviews.csv")
LENGTH = 12


def read_reviews(path=FILE):
    with open(path, newline="", encoding="utf-8") as file:
        return [(row["text"], int(row["good"])) for row in csv.DictReader(file)]


def build_vocabulary(texts):
    words = sorted({word for text in texts for word in text.lower().split()})
    return {"[PAD]": 0, "[UNK]": 1, **{word: i for i, word in enumerate(words, start=2)}}


class ReviewDataset(Dataset):
    def __init__(self, reviews, vocabulary):
        self.reviews = reviews
        self.vocabulary = vocabulary

    def __len__(self):
        return len(self.reviews)

    def __getitem__(self, index):
        text, label = self.reviews[index]
        ids = [self.vocabulary.get(word, 1) for word in text.lower().split()][:LENGTH]
        padding = LENGTH - len(ids)
        return {
            "input_ids": torch.tensor(ids + [0] * padding),
            "attention_mask": torch.tensor([1] * len(ids) + [0] * padding),
            "labels": torch.tensor(label),
        }


def load_datasets():
    reviews = read_reviews()
    vocabulary = build_vocabulary(text for text, _ in reviews)
    held_out = reviews[::5]
    rest = [review for index, review in enumerate(reviews) if index % 5]
    return ReviewDataset(rest, vocabulary), ReviewDataset(held_out, vocabulary)
