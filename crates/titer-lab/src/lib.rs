//! Runs a plan against a store.
