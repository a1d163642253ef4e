//! The native API under `/sheaf/v1`, and `/healthz`, `/readyz`, `/metrics`.
