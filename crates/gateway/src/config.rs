//! Settings of the gateway: the address it listens on, the services, and the tokens and signatures that it accepts.
//!
//! [`Args`] are the settings as the operator writes them; [`Config`] are the checked ones.

pub(crate) mod args;
pub(crate) mod keys;

use std::{net::SocketAddr, time::Duration};

use chassis::{clock::Clock, grpc};
use secrecy::SecretString;
use tonic::transport::Endpoint;
use url::Url;

use crate::{
    address::TrustedProxies,
    auth::claim_paths::{AdminClaim, GroupsClaim},
    rate::Rate,
};

pub use self::{
    args::{Args, HttpArgs},
    keys::{Issuer, KeySource, KeysAt},
};
pub use crate::{
    auth::{cookie::CookieAuth, profile::ProfileClaims},
    cors::Cors,
};

/// The checked settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub peers: PeerAddresses,
    pub internal: grpc::Settings,
    pub http: HttpConfig,
}

/// The addresses of the services.
#[derive(Clone, Debug)]
pub struct PeerAddresses {
    pub booking: Endpoint,
    pub room: Endpoint,
    pub token: Endpoint,
    pub sync: Endpoint,
}

/// The settings that [`crate::start`] needs.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub auth: AuthConfig,
    pub cors: Cors,
    /// None: no cookie is read.
    pub cookie: Option<CookieAuth>,
    pub trusted_proxies: TrustedProxies,
    /// 0: no limit.
    pub connections_per_address: u32,
    /// The base URL, without a slash at the end.
    pub api_url: Option<String>,
    pub rates: Rates,
    pub streams: StreamsConfig,
    pub nip98: Nip98Config,
}

/// Settings for the signatures of Nostr clients.
#[derive(Clone, Debug)]
pub struct Nip98Config {
    /// The base URLs at which clients reach this gateway. Empty: every signature is refused.
    pub bases: Vec<Url>,
    /// How much the clocks may differ. Room-lifecycle remembers accepted events for twice as long.
    pub window: Duration,
}

impl Nip98Config {
    pub const WINDOW: Duration = Duration::from_mins(1);
}

/// Settings of the listing and its event stream.
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    /// Whether the listing is readable without a token.
    pub is_public: bool,
    /// The secrets of links and tickets. The first one signs; signatures of all are accepted.
    pub link_secrets: Vec<SecretString>,
    /// The period of the comments in an event stream, and of the check whether the feed has listeners. Only tests
    /// change it.
    pub heartbeat: Duration,
}

impl StreamsConfig {
    #[must_use]
    pub fn signed_with(link_secrets: Vec<SecretString>) -> Self {
        Self { is_public: false, link_secrets, heartbeat: Duration::from_secs(15) }
    }
}

/// Settings for bearer tokens.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub keys: KeySource,
    pub issuer: String,
    pub audience: Audience,
    /// The client that tokens must be issued to. None: any client of the issuer.
    pub client_id: Option<String>,
    pub profile: ProfileClaims,
    pub admin: Option<AdminClaim>,
    pub groups: Option<GroupsClaim>,
    /// The clock that tokens are verified by. Only tests use another clock than the machine's.
    pub clock: Clock,
}

/// The audience of the tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    Named(String),
    /// Only tokens without `aud`.
    Absent,
}

/// The rate limits.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub user: Rate,
    pub anonymous: Rate,
    pub moderation: Rate,
    pub ensure: Rate,
    /// Diagnoses of one person or address.
    pub diagnosis: Rate,
    /// Repairs of one room.
    pub repair: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            user: Rate::new(100, 1000),
            anonymous: Rate::new(20, 100),
            moderation: Rate::new(5, 5),
            ensure: Rate::new(1, 5),
            diagnosis: Rate::once_in(Duration::from_secs(5)),
            repair: Rate::once_in(Duration::from_secs(30)),
        }
    }
}
