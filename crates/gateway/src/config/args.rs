//! The settings as command-line arguments and environment variables, and their checks.
//!
//! The gateway does not start if it would accept tokens of any issuer. One source of keys is required, and so are the
//! issuer and the audience. Keys are fetched over https, except from this machine.

use std::time::Duration;

use chassis::{
    clock::Clock,
    config::{InternalArgs, Invalid, Problems, check, non_blank},
    signed::link_secrets,
};
use url::Url;

use super::{
    Audience, AuthConfig, Config, CookieAuth, Cors, HttpConfig, KeySource, Nip98Config, PeerAddresses, Rates,
    StreamsConfig,
    keys::{self, Issuer, KeysAt},
};
use crate::{
    address::TrustedProxies,
    auth::{
        claim_paths::{AdminClaim, GroupsClaim},
        profile::{ClaimPath, ProfileClaims},
    },
};

#[derive(clap::Args, Clone, Default)]
pub struct Args {
    /// Address of the HTTP port [default: `0.0.0.0:8080`]
    #[arg(long, env = "GATEWAY_LISTEN")]
    pub gateway_listen: Option<String>,
    /// Where the booking service is, `http://booking:50051` [always required]
    #[arg(long, env = "BOOKING_URL")]
    pub booking_url: Option<String>,
    /// Where the room-lifecycle service is, `http://room-lifecycle:50052` [always required]
    #[arg(long, env = "ROOM_URL")]
    pub room_url: Option<String>,
    /// Where the token service is, `http://token:50053` [always required]
    #[arg(long, env = "TOKEN_URL")]
    pub token_url: Option<String>,
    /// Where the sync service is, `http://sync:50054` [always required]
    #[arg(long, env = "SYNC_URL")]
    pub sync_url: Option<String>,
    #[command(flatten)]
    pub internal: InternalArgs,
    #[command(flatten)]
    pub http: HttpArgs,
}

/// The settings that do not depend on where the services run. `greenroom up` uses only these.
#[derive(clap::Args, Clone, Default)]
pub struct HttpArgs {
    /// The identity provider's key set: https, or http on this machine [required: this, `AUTH_HS256_SECRET`, or an
    /// `AUTH_ISSUER` with discovery]
    #[arg(long, env = "AUTH_JWKS_URL")]
    pub auth_jwks_url: Option<String>,
    /// The secret that HS256 tokens are signed with, at least 32 bytes [required: this, `AUTH_JWKS_URL`, or an
    /// `AUTH_ISSUER` with discovery]
    #[arg(long, env = "AUTH_HS256_SECRET", hide_env_values = true)]
    pub auth_hs256_secret: Option<String>,
    /// The file that has `AUTH_HS256_SECRET`
    #[arg(long, env = "AUTH_HS256_SECRET_FILE")]
    pub auth_hs256_secret_file: Option<String>,
    /// `iss` of the tokens, exactly [always required]
    ///
    /// If it is an https URL (or http on this machine) and neither of the two above is set, the key set is found by
    /// discovery (docs/sign-in.md).
    #[arg(long, env = "AUTH_ISSUER")]
    pub auth_issuer: Option<String>,
    /// What `aud` of the tokens must be or contain; `none`: only tokens without `aud` are accepted [always required]
    #[arg(long, env = "AUTH_AUDIENCE")]
    pub auth_audience: Option<String>,
    /// What `client_id` or `azp` of the tokens must be [default: any client of the issuer]
    #[arg(long, env = "OIDC_CLIENT_ID")]
    pub oidc_client_id: Option<String>,
    /// A claim or JSON pointer of the user's name. Without a name there, it is the first of `name`, `given_name
    /// family_name`, `nickname` and `preferred_username` [default: none]
    #[arg(long, env = "NAME_CLAIM")]
    pub name_claim: Option<String>,
    /// A claim or JSON pointer of the user's e-mail address; `email_verified` is read beside it. Never a claim that
    /// users can edit themselves [default: `email`]
    #[arg(long, env = "EMAIL_CLAIM")]
    pub email_claim: Option<String>,
    /// A claim or JSON pointer of the URL of the user's picture [default: `picture`]
    #[arg(long, env = "PICTURE_CLAIM")]
    pub picture_claim: Option<String>,
    /// The claim that makes a user an admin, as a JSON pointer and its value: `/app_metadata/role=admin`. Never a claim
    /// that users can edit themselves [default: no admins]
    #[arg(long, env = "ADMIN_CLAIM")]
    pub admin_claim: Option<String>,
    /// A claim or JSON pointer that lists the user's groups [default: no groups]
    #[arg(long, env = "GROUPS_CLAIM")]
    pub groups_claim: Option<String>,
    /// Web origins that may call from a browser, each written out, separated by commas; or `*` alone [default: none]
    ///
    /// Without it `greenroom up` allows `http://localhost`, `http://127.0.0.1` and `http://[::1]` at any port.
    #[arg(long, env = "CORS_ORIGINS")]
    pub cors_origins: Option<String>,
    /// The cookie that carries the bearer token of pages of an existing application. Requests that change something
    /// must come from an origin of `CORS_ORIGINS`, `API_URL` or `PUBLIC_URLS` (docs/browsers.md) [default: none]
    #[arg(long, env = "AUTH_COOKIE")]
    pub auth_cookie: Option<String>,
    /// Addresses and networks whose `X-Forwarded-For` is trusted, separated by commas [default: none]
    ///
    /// The first such header of another peer is logged as a warning.
    #[arg(long, env = "TRUSTED_PROXIES")]
    pub trusted_proxies: Option<String>,
    /// Connections of one address (IPv6: of one /64) to one replica; one more is closed at once. `0`: no limit
    /// [default: `512`]
    ///
    /// Peers in `TRUSTED_PROXIES` and on this machine are not counted.
    #[arg(long, env = "CONNECTIONS_PER_ADDRESS")]
    pub connections_per_address: Option<String>,
    /// This gateway as clients see it, `https://api.example.org` [default: links are relative, and no Nostr signature
    /// is accepted]
    #[arg(long, env = "API_URL")]
    pub api_url: Option<String>,
    /// Further base URLs at which clients reach this gateway, separated by commas. Nostr clients sign for one of these
    /// or for `API_URL` (docs/nests.md) [default: none]
    #[arg(long, env = "PUBLIC_URLS")]
    pub public_urls: Option<String>,
    /// How far a Nostr client's clock and ours may differ, in either direction; 1 s to 120 s [default: `60s`]
    #[arg(long, env = "NIP98_WINDOW")]
    pub nip98_window: Option<String>,
    /// Whether the listing of public live rooms and its stream of events can be read without a token [default: `false`]
    #[arg(long, env = "PUBLIC_LISTING")]
    pub public_listing: Option<String>,
    /// The secret that signs links and tickets, at least 32 bytes; `new,old` during a rotation; the same for all
    /// gateways [default: `INTERNAL_TOKEN`]
    #[arg(long, env = "LINK_SECRET", hide_env_values = true)]
    pub link_secret: Option<String>,
    /// The file that has `LINK_SECRET`
    #[arg(long, env = "LINK_SECRET_FILE")]
    pub link_secret_file: Option<String>,
    /// Requests of one user, `<per second>/<burst>`, for each replica [default: `100/1000`]
    #[arg(long, env = "RATE_LIMIT_USER")]
    pub rate_limit_user: Option<String>,
    /// Requests of one address without a valid token, `<per second>/<burst>`. Webhooks of an address that are not
    /// answered 200 are counted separately, with the same limit [default: `20/100`]
    #[arg(long, env = "RATE_LIMIT_ANONYMOUS")]
    pub rate_limit_anonymous: Option<String>,
    /// Moderation requests of one user, `<per second>/<burst>` [default: `5/5`]
    ///
    /// These are: admit, admit all, reject, promote, demote, mute, kick, ban, unban; kicks from a meeting; starting,
    /// stopping and deleting a recording; and the same requests of a Nostr key.
    #[arg(long, env = "RATE_LIMIT_MODERATION")]
    pub rate_limit_moderation: Option<String>,
    /// Token requests with `?ensure=now` of one user, `<per second>/<burst>` [default: `1/5`]
    #[arg(long, env = "RATE_LIMIT_ENSURE")]
    pub rate_limit_ensure: Option<String>,
}

impl Args {
    /// Checks the settings. The error lists all problems.
    pub fn check(self) -> Result<Config, Invalid> {
        check(|problems| self.check_with(problems))
    }

    pub fn check_with(mut self, problems: &mut Problems) -> Option<Config> {
        self.internal.read_file(problems);
        self.http.read_files(problems);
        // One secret less to set up. Both are secrets of the whole deployment.
        self.http.link_secret =
            non_blank(self.http.link_secret).or_else(|| self.internal.internal_token.clone());
        let listen = problems.listen("GATEWAY_LISTEN", self.gateway_listen.as_deref(), 8080);
        let booking = problems.peer("BOOKING_URL", self.booking_url);
        let room = problems.peer("ROOM_URL", self.room_url);
        let token = problems.peer("TOKEN_URL", self.token_url);
        let sync = problems.peer("SYNC_URL", self.sync_url);
        let internal = self.internal.check(problems);
        let http = self.http.check_with(problems);
        Some(Config {
            listen,
            peers: PeerAddresses { booking: booking?, room: room?, token: token?, sync: sync? },
            internal: internal?,
            http: http?,
        })
    }
}

impl HttpArgs {
    /// Reads the files of secrets, for callers that use one before the check.
    pub fn read_files(&mut self, problems: &mut Problems) {
        let (secret, file) = (&mut self.auth_hs256_secret, &mut self.auth_hs256_secret_file);
        problems.secret_file("AUTH_HS256_SECRET", secret, file);
        problems.secret_file("LINK_SECRET", &mut self.link_secret, &mut self.link_secret_file);
    }

    pub fn check_with(mut self, problems: &mut Problems) -> Option<HttpConfig> {
        self.read_files(problems);
        let rates = self.rates(problems);
        let keys = keys(self.auth_jwks_url, self.auth_hs256_secret, self.auth_issuer.as_deref(), problems);
        let issuer = problems.required("AUTH_ISSUER", self.auth_issuer);
        let audience = problems.required("AUTH_AUDIENCE", self.auth_audience).map(audience);
        let profile = profile(self.name_claim, self.email_claim, self.picture_claim, problems);
        let admin = optional("ADMIN_CLAIM", self.admin_claim, AdminClaim::parse, problems);
        let groups = optional("GROUPS_CLAIM", self.groups_claim, GroupsClaim::parse, problems);
        let cors = optional("CORS_ORIGINS", self.cors_origins, Cors::parse, problems);
        let trusted = optional("TRUSTED_PROXIES", self.trusted_proxies, TrustedProxies::parse, problems);
        let connections_per_address =
            problems.parse("CONNECTIONS_PER_ADDRESS", self.connections_per_address.as_deref(), 512);
        // A blank value is no problem, so it is dropped before the check.
        let api_url = non_blank(self.api_url)
            .and_then(|url| problems.base_url("API_URL", Some(url), &["http", "https"]));
        let nip98 = Nip98Config {
            bases: bases(api_url.as_deref(), self.public_urls, problems),
            window: problems.duration_in(
                "NIP98_WINDOW",
                self.nip98_window.as_deref(),
                Nip98Config::WINDOW,
                Duration::from_secs(1)..=Duration::from_mins(2),
                "1 s to 120 s",
            ),
        };
        let cookie = CookieAuth::check(non_blank(self.auth_cookie), cors.as_ref(), &nip98.bases, problems);
        let is_public = problems.parse("PUBLIC_LISTING", self.public_listing.as_deref(), false);
        // Required, but after the fallback above it is missing only with `INTERNAL_TOKEN`.
        let link_secrets = link_secrets(self.link_secret, problems);
        Some(HttpConfig {
            streams: StreamsConfig { is_public, ..StreamsConfig::signed_with(link_secrets?) },
            auth: AuthConfig {
                keys: keys?,
                issuer: issuer?,
                audience: audience?,
                client_id: non_blank(self.oidc_client_id),
                profile,
                admin,
                groups,
                clock: Clock::default(),
            },
            cors: cors.unwrap_or(Cors::None),
            cookie,
            trusted_proxies: trusted.unwrap_or_default(),
            connections_per_address,
            api_url,
            rates,
            nip98,
        })
    }

    fn rates(&self, problems: &mut Problems) -> Rates {
        let defaults = Rates::default();
        let mut rate =
            |setting, value: &Option<String>, default| problems.parse(setting, value.as_deref(), default);
        Rates {
            user: rate("RATE_LIMIT_USER", &self.rate_limit_user, defaults.user),
            anonymous: rate("RATE_LIMIT_ANONYMOUS", &self.rate_limit_anonymous, defaults.anonymous),
            moderation: rate("RATE_LIMIT_MODERATION", &self.rate_limit_moderation, defaults.moderation),
            ensure: rate("RATE_LIMIT_ENSURE", &self.rate_limit_ensure, defaults.ensure),
            ..defaults
        }
    }
}

/// Parses an optional setting.
fn optional<T>(
    setting: &str,
    value: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> Option<T> {
    let value = non_blank(value)?;
    parse(value.trim()).map_err(|problem| problems.add(setting, problem)).ok()
}

fn audience(text: String) -> Audience {
    if text.trim() == "none" { Audience::Absent } else { Audience::Named(text) }
}

fn profile(
    name: Option<String>,
    email: Option<String>,
    picture: Option<String>,
    problems: &mut Problems,
) -> ProfileClaims {
    let path = |claim: Option<String>| non_blank(claim).map(|claim| ClaimPath::parse(claim.trim()));
    let usual = ProfileClaims::default();
    ProfileClaims {
        name: path(name),
        // With another person's address a user would get that person's e-mails.
        email: optional("EMAIL_CLAIM", email, ClaimPath::parse_trusted, problems).unwrap_or(usual.email),
        picture: path(picture).unwrap_or(usual.picture),
    }
}

/// Checks the source of keys: `AUTH_JWKS_URL`, or `AUTH_HS256_SECRET`, or discovery at `AUTH_ISSUER`.
pub(crate) fn keys(
    jwks: Option<String>,
    secret: Option<String>,
    issuer: Option<&str>,
    problems: &mut Problems,
) -> Option<KeySource> {
    match (non_blank(jwks), non_blank(secret)) {
        (Some(jwks), None) => {
            let url = problems.url("AUTH_JWKS_URL", Some(jwks), &["https", "http"])?;
            if !keys::is_protected(&url) {
                problems.add("AUTH_JWKS_URL", "must be https");
                return None;
            }
            Some(KeySource::Jwks(KeysAt::Url(url)))
        }
        (None, Some(secret)) => problems.secret("AUTH_HS256_SECRET", Some(secret), 32).map(KeySource::Hs256),
        // The file is the problem, and it is already listed.
        (None, None) if problems.is_file_refused("AUTH_HS256_SECRET") => None,
        (Some(_), Some(_)) => {
            problems.add("AUTH_JWKS_URL, AUTH_HS256_SECRET", "only one of the two may be set");
            None
        }
        (None, None) => {
            let issuer = issuer.and_then(Issuer::parse);
            if issuer.is_none() {
                let problem = "one of the two must be set, or AUTH_ISSUER must be an https URL";
                problems.add("AUTH_JWKS_URL, AUTH_HS256_SECRET", problem);
            }
            issuer.map(KeysAt::Issuer).map(KeySource::Jwks)
        }
    }
}

/// Returns the base URLs of `API_URL` and `PUBLIC_URLS`.
fn bases(api_url: Option<&str>, others: Option<String>, problems: &mut Problems) -> Vec<Url> {
    // `API_URL` was checked before, so a second parse cannot fail.
    let mut bases: Vec<Url> = api_url.and_then(|url| url.parse().ok()).into_iter().collect();
    for url in non_blank(others).iter().flat_map(|urls| urls.split(',')) {
        bases.extend(problems.url("PUBLIC_URLS", Some(url.trim().to_owned()), &["http", "https"]));
    }
    bases
}
