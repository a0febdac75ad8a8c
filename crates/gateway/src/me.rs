//! `/api/me`: the caller, and the language and time zone of mails to them.

use axum::{Json, extract::State};
use chassis::status::Reason::{InvalidRequest, TooLarge};
use proto::booking::v1 as pb;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    auth::SignedIn,
    clients::Clients,
    error::Rejection,
    extract::JsonBody,
    wire::{self, Envelope},
};

/// The caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Me {
    id: String,
    name: String,
    /// Null: not known.
    email: Option<String>,
    /// The language of mails to the caller, a BCP 47 tag: the chosen one, otherwise the claim `locale` of the token if
    /// there are texts in its language, otherwise `DEFAULT_LOCALE`.
    locale: String,
    /// The IANA zone of times in mails to the caller: the chosen one, otherwise the claim `zoneinfo` of the token.
    /// Null: the zone of each booking, otherwise UTC.
    time_zone: Option<String>,
    /// Null: not chosen.
    chosen_locale: Option<String>,
    /// Null: not chosen.
    chosen_time_zone: Option<String>,
}

impl Me {
    fn read(user: Option<pb::User>) -> Result<Self, Rejection> {
        let user = user.ok_or(Rejection::Incomplete("user"))?;
        Ok(Self {
            id: user.id,
            name: user.name,
            email: user.email,
            locale: user.locale,
            time_zone: user.time_zone,
            chosen_locale: user.chosen_locale,
            chosen_time_zone: user.chosen_time_zone,
        })
    }
}

/// Returns the caller.
///
/// Read-only. Any signed-in person.
#[utoipa::path(get, path = "/api/me", operation_id = "getMe", tag = "People",
    responses((status = 200, body = Envelope<Me>, description = "The caller.")),
    extensions(("x-refuses" = json!([]))))]
pub(crate) async fn get(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
) -> Result<Json<Envelope<Me>>, Rejection> {
    let request = pb::GetUserRequest { caller: Some(caller) };
    let answer = clients.booking().get_user(request).await?.into_inner();
    Me::read(answer.user).map(Envelope::new)
}

/// Absent fields stay as they are. Null removes a choice.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchMe {
    /// A BCP 47 tag of English or German, such as `en-GB`.
    #[serde(default, deserialize_with = "wire::nullable")]
    #[schema(max_length = 35)]
    locale: Option<String>,
    /// An IANA name, such as `Europe/Berlin`.
    #[serde(default, deserialize_with = "wire::nullable")]
    #[schema(max_length = 64)]
    time_zone: Option<String>,
}

/// Chooses the language and the time zone of mails.
///
/// Idempotent. Any signed-in person, for themselves.
#[utoipa::path(patch, path = "/api/me", operation_id = "patchMe", tag = "People", request_body = PatchMe,
    responses((status = 200, body = Envelope<Me>, description = "The caller.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge]))))]
pub(crate) async fn patch(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    JsonBody(body): JsonBody<PatchMe>,
) -> Result<Json<Envelope<Me>>, Rejection> {
    let request =
        pb::UpdateUserRequest { caller: Some(caller), locale: body.locale, time_zone: body.time_zone };
    let answer = clients.booking().update_user(request).await?.into_inner();
    Me::read(answer.user).map(Envelope::new)
}
