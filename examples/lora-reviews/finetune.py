"""Fine-tune the LoRA adapters with the Trainer: python finetune.py"""

import argparse
import tempfile

import torch
from data import load_datasets
from model import create_model
from transformers import Trainer, TrainingArguments, set_seed


def train(model, train_dataset, num_epochs=10, batch_size=16, learning_rate=1e-2, seed=0):
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=num_epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=train_dataset)
        result = trainer.train()
    return {"loss": result.training_loss}


@torch.no_grad()
def evaluate(model, dataset):
    model.eval()
    batch = {key: torch.stack([row[key] for row in dataset]) for key in dataset[0]}
    output = model(**batch)
    accuracy = (output.logits.argmax(-1) == batch["labels"]).float().mean().item()
    return {"loss": output.loss.item(), "accuracy": accuracy}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="reviews-lora")
    args = parser.parse_args()

    set_seed(args.seed)
    model = create_model()
    train_dataset, test_dataset = load_datasets()
    train(model, train_dataset, args.epochs, args.batch_size, args.lr, args.seed)
    print(evaluate(model, test_dataset))
    model.save_pretrained(args.output)


if __name__ == "__main__":
    main()
