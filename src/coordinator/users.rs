//! Users and their sessions: who may enter, and as what.

/// What a user may do; each role may all that the ones below it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Read.
    Viewer,
    /// Collect, and read.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Whoever stands behind a credential that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub name: String,
    /// The user's role.
    pub role: Role,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub principal: Principal,
    /// When it was opened, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was used before this time.
    pub last_used_ms: i64,
}
