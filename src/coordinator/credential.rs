//! What a caller shows to be let in, as the doors of all APIs read it.
//!
//! It comes from `api::door` and goes to `Verbs::authenticate`, the one place that decides. A credential prints as its kind alone.

use crate::coordinator::signature::Signed;
use crate::secret::Secret;

/// What a caller shows.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A user's name and password.
    Basic(String, Secret),
    /// A session's id: vSphere's, the log management's tokens, a bearer's.
    Session(Secret),
    /// A Keystone token. Shown where a session is meant, or the other way round, either is taken for what it is.
    Token(Secret),
    /// A request signed with an access key.
    Signed(Signed),
    /// The serial number of a client certificate of the operators' CA, whose chain the listener checked: lower-case hex.
    Certificate(String),
}
