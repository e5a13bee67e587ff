"""Language models, their tokenizers, chat templates and LoRA adapters; conversion to and from Hugging Face."""
