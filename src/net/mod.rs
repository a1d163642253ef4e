//! Network plumbing shared by both wings: TLS, listeners, bodies, clients. No route and no policy lives here.
