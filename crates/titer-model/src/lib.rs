//! One trainable decoder for the Llama family: weights, forward pass, generation.
