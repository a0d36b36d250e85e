"""A tiny BERT with LoRA adapters. It is built from a config, so nothing is downloaded."""

from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

VOCABULARY_SIZE = 128


def create_model(rank=4, dropout=0.0):
    config = BertConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["query", "value", "dense"],
    )
    return get_peft_model(BertForSequenceClassification(config), lora)
