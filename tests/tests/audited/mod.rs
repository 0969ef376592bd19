//! Stores and bundles as an auditor finds them.

mod audits;
mod bundles;
mod corruption;
