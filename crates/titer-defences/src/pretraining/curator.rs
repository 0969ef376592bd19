//! What a pretraining-stage defence is.

/// A pretraining-stage defence: which texts a base model is trained on. What it leaves out is made up for by more of the
/// others: steps and batches stay what they are.
pub trait Curator {
    /// Whether the base model is trained on texts of this domain, where the defender knows that `forbidden` are
    /// forbidden.
    fn keeps(&self, domain: &str, forbidden: &[String]) -> bool;
}
