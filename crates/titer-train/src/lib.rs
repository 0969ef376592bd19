//! The one training loop: objectives, optimiser, schedules, checkpoints.
