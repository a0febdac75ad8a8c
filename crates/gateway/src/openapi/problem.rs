//! The schemas of the bodies of refusals, which `error` writes.

use std::borrow::Cow;

use chassis::status::Reason;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema, Type,
        schema::{ObjectBuilder, OneOfBuilder},
    },
};

/// Codes of requests that match no handler.
const NO_HANDLER: [&str; 2] = ["route_not_found", "method_not_allowed"];

/// The code of a refusal, for programs. New codes may come with any release: treat an unknown one by its HTTP status.
pub(super) struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let codes = Reason::ALL.iter().map(|reason| reason.code()).chain(NO_HANDLER);
        let description = "The code of a refusal, for programs. New codes may come with any release: treat an unknown \
                           code by its HTTP status.";
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(codes))
            .description(Some(description));
        RefOr::T(Schema::Object(schema.build()))
    }
}

impl ToSchema for ErrorCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ErrorCode")
    }
}

/// A field of the request that is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a part of a body that `error` writes")]
pub(super) struct WrongField {
    /// The name as the request has it.
    #[schema(example = "guest.name")]
    field: String,
    /// What the field must be.
    #[schema(example = "must be a text")]
    message: String,
}

/// A refusal.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that `error` writes")]
pub(super) struct Problem {
    /// A short title for people.
    #[schema(example = "Session Not Found")]
    error: String,
    /// What to do about it.
    message: String,
    code: ErrorCode,
    /// Finds the request in the logs. Also in the header `x-request-id`.
    request_id: String,
    /// 400: the first field that is wrong.
    field: Option<String>,
    /// 400: all fields that are wrong.
    errors: Option<Vec<WrongField>>,
    /// `too_early`: when the meeting opens.
    #[schema(format = DateTime)]
    opens_at: Option<String>,
    /// 400 because of `scheduledAt`: the time of the server.
    #[schema(format = DateTime)]
    now: Option<String>,
    /// 429 and 503: seconds. Also in the header `Retry-After`.
    retry_after: Option<u64>,
}

/// A refusal of a route of nests.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that `error` writes")]
pub(super) struct NestProblem {
    /// A short title for people. `true` with `recording_stopped` and `recording_not_finished`: show the message.
    #[schema(schema_with = title_or_true)]
    error: String,
    /// What to do about it.
    message: String,
    code: ErrorCode,
    /// Finds the request in the logs. Also in the header `x-request-id`.
    request_id: String,
    /// 400: the first field that is wrong.
    field: Option<String>,
    /// 400: all fields that are wrong.
    errors: Option<Vec<WrongField>>,
    /// 429 and 503: seconds. Also in the header `Retry-After`.
    retry_after: Option<u64>,
}

fn title_or_true() -> Schema {
    let of = |kind| ObjectBuilder::new().schema_type(kind);
    Schema::OneOf(OneOfBuilder::new().item(of(Type::String)).item(of(Type::Boolean)).build())
}

/// A refusal of a route below `/api/v1/live`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that `error` writes")]
pub(super) struct LiveProblem {
    /// Always false.
    ok: bool,
    /// The code in capitals.
    #[schema(example = "ROOM_NOT_IDLE")]
    error: String,
    /// What to do about it.
    message: String,
    code: ErrorCode,
    /// Finds the request in the logs. Also in the header `x-request-id`.
    request_id: String,
    /// 400: the first field that is wrong.
    field: Option<String>,
    /// 400: all fields that are wrong.
    errors: Option<Vec<WrongField>>,
    /// `room_not_idle`: the session that is open.
    #[schema(format = Uuid)]
    session_id: Option<String>,
    /// `room_not_idle`: when that session starts or started.
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    /// 429 and 503: seconds. Also in the header `Retry-After`.
    retry_after: Option<u64>,
}
