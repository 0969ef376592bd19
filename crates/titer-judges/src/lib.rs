//! What scores a response.
