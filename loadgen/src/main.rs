//! shrike
fn main() {}
