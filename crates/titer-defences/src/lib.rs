//! Methods that make a model resist harmful fine-tuning.
