"""Language models: architectures, log-probabilities, tokenizers, chat templates, LoRA, conversion to Hugging Face."""
