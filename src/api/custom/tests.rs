//! Placeholder until the tables stand.
