//! TLS: who is trusted, who is refused, and what the refusal is called.
