//! `/api/v1/diagnostics/rooms`: why a caller cannot join a room, and one step that repairs it.
//!
//! A diagnosis is answered within 2 s. If a service does not answer in time, the gateway itself answers scenario C and
//! names the failed check. Any client may request one; room-lifecycle decides what the client may know about the room.

use std::{collections::HashMap, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, RawPathParams, State},
};
use chassis::{
    context,
    status::{
        Reason::{
            self, InvalidRequest, LivekitUnavailable, NotHost, RoomNotActive, RoomNotFound, SignatureUsed,
            TooLarge,
        },
        Refusal,
    },
};
use domain::{Scenario, TargetKind, diagnosis::Cause};
use http::request::Parts;
use proto::{room::v1 as room, token::v1 as token};
use serde::Serialize;
use tonic::{Code, Status};
use utoipa::ToSchema;

use crate::{
    clients::Clients,
    error::{self, Rejection},
    extract::{EmptyObject, JsonBody},
    limits::Limits,
    principal::Principal,
};

/// The time limit for all calls to services together.
const BUDGET: Duration = Duration::from_secs(2);

#[derive(Serialize, ToSchema)]
pub(crate) struct Verdict {
    /// In the order in which they build on each other.
    checks: Vec<Finding>,
    /// ok · A (the room is known, LiveKit or tokens fail) · B (not known) · C (a service or the database fails) ·
    /// refused (all is well but for this caller, or at this time)
    scenario: Scenario,
    /// One of docs/diagnosis.md; it does not change.
    code: String,
    diagnosis: String,
    likely_cause: String,
    /// What the caller can do about it.
    fix: String,
    /// Whether a repair was made.
    repaired: bool,
    /// Finds the request in our logs; the same as the header `x-request-id`.
    request_id: String,
    #[serde(flatten)]
    facts: Facts,
}

#[derive(Serialize, ToSchema)]
struct Finding {
    #[schema(example = "livekit_reachable")]
    check: String,
    /// Null: the check was skipped because of an earlier finding.
    ok: Option<bool>,
    /// For admins; empty for other callers.
    detail: String,
    took_ms: u32,
}

/// Facts of the room that the caller may know.
#[derive(Default, Serialize, ToSchema)]
struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<TargetKind>,
    /// Of a booking.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    opens_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    closes_at: Option<String>,
    /// `room_id_mismatch`: what the id names instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<String>,
    /// `room_id_mismatch`: the booking, live room or nest that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    belongs_to: Option<String>,
    /// `clock_skew`: LiveKit's clock less the database's.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_skew_seconds: Option<i64>,
    /// Scenario C: when to try again, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl From<HashMap<String, String>> for Facts {
    fn from(mut facts: HashMap<String, String>) -> Self {
        let mut take = |fact: &str| facts.remove(fact);
        Self {
            kind: take("kind").and_then(|kind| kind.parse().ok()),
            opens_at: take("opens_at"),
            closes_at: take("closes_at"),
            names: take("names"),
            belongs_to: take("belongs_to"),
            clock_skew_seconds: take("clock_skew_seconds").and_then(|seconds| seconds.parse().ok()),
            retry_after: take("retry_after").and_then(|seconds| seconds.parse().ok()),
        }
    }
}

impl Finding {
    fn of_gateway(check: &str, ok: bool) -> Self {
        Self { check: check.to_owned(), ok: Some(ok), detail: String::new(), took_ms: 0 }
    }
}

impl From<room::Check> for Finding {
    fn from(check: room::Check) -> Self {
        Self { check: check.check, ok: check.ok, detail: check.detail, took_ms: check.took_ms }
    }
}

impl TryFrom<room::Diagnosis> for Verdict {
    type Error = Rejection;

    fn try_from(found: room::Diagnosis) -> Result<Self, Rejection> {
        let findings = found.checks.into_iter().map(Finding::from);
        Ok(Self {
            checks: std::iter::once(Finding::of_gateway("api", true)).chain(findings).collect(),
            scenario: found.scenario.try_into()?,
            code: found.code,
            diagnosis: found.diagnosis,
            likely_cause: found.likely_cause,
            fix: found.fix,
            repaired: found.repaired,
            request_id: error::request_id().to_string(),
            facts: found.facts.into(),
        })
    }
}

impl Verdict {
    /// Builds the verdict that the gateway gives without an answer of the services.
    fn of_refusal(refusal: Refusal, failed: Option<&str>, is_admin: bool) -> Self {
        let cause = Cause::from(refusal.reason);
        let texts = cause.texts();
        let mut checks = vec![Finding::of_gateway("api", true)];
        checks.extend(failed.map(|check| Finding::of_gateway(check, false)));
        Self {
            checks,
            scenario: cause.scenario(),
            code: cause.code().to_owned(),
            diagnosis: texts.diagnosis.to_owned(),
            likely_cause: texts.likely_cause.to_owned(),
            fix: cause.fix(is_admin).to_owned(),
            repaired: false,
            request_id: error::request_id().to_string(),
            facts: refusal.facts.into_iter().collect::<HashMap<_, _>>().into(),
        }
    }
}

/// A failed call: the check that names the service, and the failure.
struct FailedCall(&'static str, Rejection);

const ROOMS: &str = "room_service";
const TOKENS: &str = "token_service";

enum RoomLookup {
    Room { kind: TargetKind, id: String },
    NotKnown(room::Diagnosis),
}

async fn find(clients: &Clients, principal: &Principal, reference: String) -> Result<RoomLookup, Rejection> {
    let request = room::FindRoomRequest { caller: principal.caller().cloned(), reference };
    let found = clients.diagnosis().find_room(request).await?.into_inner();
    Ok(match found.not_known {
        Some(not_known) => RoomLookup::NotKnown(not_known),
        None => RoomLookup::Room { kind: found.kind.try_into()?, id: found.id },
    })
}

async fn examine(
    clients: &Clients,
    principal: &Principal,
    kind: TargetKind,
    id: String,
) -> Result<room::Diagnosis, FailedCall> {
    let caller = principal.caller_in(kind).cloned();
    let request = token::ExplainRequest { caller: caller.clone(), kind: kind.into(), id: id.clone() };
    let explained = clients
        .token()
        .explain(request)
        .await
        .map_err(|status| FailedCall(TOKENS, status.into()))?
        .into_inner();
    let request = room::DiagnoseRequest { caller, kind: kind.into(), id, code: explained.code };
    let diagnosis =
        clients.diagnosis().diagnose(request).await.map_err(|status| FailedCall(ROOMS, status.into()))?;
    Ok(diagnosis.into_inner())
}

/// Builds and logs the verdict. It is also built when a service has failed.
fn conclude(principal: &Principal, outcome: Result<room::Diagnosis, FailedCall>) -> Verdict {
    let outcome =
        // A verdict with an unknown value comes from a newer service; for the caller that is a failed check.
        outcome.and_then(|found| Verdict::try_from(found).map_err(|rejection| FailedCall(ROOMS, rejection)));
    let verdict = match outcome {
        Ok(verdict) => verdict,
        Err(FailedCall(check, rejection)) => {
            Verdict::of_refusal(rejection.into_refusal(), Some(check), principal.is_admin())
        }
    };
    tracing::info!(
        request.id = verdict.request_id,
        scenario = verdict.scenario.as_str(),
        code = verdict.code,
        repaired = verdict.repaired,
        user.id = principal.caller().map(|caller| caller.user_id.as_str()),
        "room diagnosed"
    );
    verdict
}

/// Explains why the caller cannot join a room.
///
/// `ref` is the id of a booking, live room or nest, a LiveKit room name, the link of a meeting or an naddr,
/// percent-encoded. Answers within 2 s. Read-only. Any client; details depend on what the caller may know.
#[utoipa::path(get, path = "/api/v1/diagnostics/rooms/{ref}", operation_id = "diagnoseRoom", tag = "Diagnosis",
    params(("ref" = String, Path)), security((), ("bearer" = []), ("nostr" = [])),
    responses((status = 200, body = Verdict, description = "The diagnosis.")),
    extensions(("x-refuses" = json!([]))))]
pub(crate) async fn diagnose(
    State(clients): State<Clients>,
    State(limits): State<Limits>,
    principal: Principal,
    Reference(reference): Reference,
) -> Result<Json<Verdict>, Rejection> {
    // Before the refusal of a token: a diagnosis costs several calls, also without a valid one.
    limits.limit_diagnosis(principal.key())?;
    if let Principal::Refused(_, refusal) = principal {
        return Ok(Json(Verdict::of_refusal(refusal, None, false)));
    }
    // One budget for both calls, so that the second one cannot exceed the 2 s.
    let outcome = context::with_budget(BUDGET, async {
        match find(&clients, &principal, reference).await.map_err(|rejection| FailedCall(ROOMS, rejection))? {
            RoomLookup::NotKnown(not_known) => Ok(not_known),
            RoomLookup::Room { kind, id } => examine(&clients, &principal, kind, id).await,
        }
    })
    .await;
    Ok(Json(conclude(&principal, outcome)))
}

/// Repairs a room.
///
/// Brings the room one step towards its desired state, and diagnoses it again. Idempotent, but limited to one
/// repair of a room in 30 s. The same signed request again is answered, not carried out again. Host and admins.
#[utoipa::path(post, path = "/api/v1/diagnostics/rooms/{ref}/repair", operation_id = "repairRoom",
    tag = "Diagnosis", params(("ref" = String, Path)), security(("bearer" = []), ("nostr" = [])),
    responses((status = 200, body = Verdict, description = "The diagnosis after the repair.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotHost, RoomNotFound, SignatureUsed, RoomNotActive,
        LivekitUnavailable]))))]
pub(crate) async fn repair(
    State(clients): State<Clients>,
    State(limits): State<Limits>,
    principal: Principal,
    Reference(reference): Reference,
    _: JsonBody<EmptyObject>,
) -> Result<Json<Verdict>, Rejection> {
    principal.require_authenticated()?;
    let RoomLookup::Room { kind, id } = find(&clients, &principal, reference).await? else {
        return Err(Refusal::new(Reason::RoomNotFound, "There is no such room.").into());
    };
    let Some(caller) = principal.caller_in(kind).cloned() else {
        return Err(Refusal::new(
            Reason::NotHost,
            "Only the host of the nest, signing with their key, and admins can repair it.",
        )
        .into());
    };
    let proof = principal.proof().cloned();
    let request = room::RepairRequest { caller: Some(caller), kind: kind.into(), id: id.clone(), proof };
    // 403 comes before 429: a caller that may not repair must not learn whether the room was just repaired. An older
    // replica of room-lifecycle does not implement the check.
    let repeated = match clients.diagnosis().check_repair(request.clone()).await {
        Ok(checked) => checked.into_inner().repeated,
        Err(status) if status.code() == Code::Unimplemented => false,
        Err(status) => return Err(status.into()),
    };
    let repaired = repeated || repair_once(&clients, &limits, request).await?;
    let outcome = context::with_budget(BUDGET, examine(&clients, &principal, kind, id)).await;
    let mut verdict = conclude(&principal, outcome);
    // A repair that left the room in A or C has not helped, and must not claim so.
    verdict.repaired = repaired && !matches!(verdict.scenario, Scenario::A | Scenario::C);
    Ok(Json(verdict))
}

/// Repairs a room, unless it was just repaired. Returns whether that succeeded.
async fn repair_once(
    clients: &Clients,
    limits: &Limits,
    request: room::RepairRequest,
) -> Result<bool, Rejection> {
    let id = request.id.clone();
    limits.limit_repair(&id)?; // before the repair: of many concurrent requests, one is served
    let outcome = clients.diagnosis().repair(request).await;
    // AlreadyExists: the signed request was used meanwhile.
    let denied = |status: &Status| {
        matches!(
            status.code(),
            Code::PermissionDenied | Code::NotFound | Code::Unauthenticated | Code::AlreadyExists
        )
    };
    if outcome.as_ref().is_err_and(denied) {
        limits.refund_repair(&id); // the permission changed after the check: no repair was made
    }
    Ok(outcome?.into_inner().repaired)
}

/// The reference in the path, percent-decoded once.
pub(crate) struct Reference(String);

impl<S: Send + Sync> FromRequestParts<S> for Reference {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|_| Refusal::invalid("path", "The path is not valid UTF-8."))?;
        let (_, reference) = params.iter().next().ok_or(Rejection::NoRoute)?;
        Ok(Self(reference.to_owned()))
    }
}
