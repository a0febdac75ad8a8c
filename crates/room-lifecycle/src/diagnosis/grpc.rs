//! The gRPC service of diagnoses.

use chassis::{
    grpc::{caller, uuid},
    status::{Fields, Refusal},
};
use domain::{TargetKind, field::one_of};
use proto::{
    room::v1::{self as pb, diagnosis_service_server::DiagnosisService},
    types::v1::Caller,
};
use tonic::{Request, Response};
use uuid::Uuid;

use super::{
    Decision, Diagnoses, FoundTarget, Target,
    verdict::{self, Diagnosis},
};
use crate::{error::RpcResult, replay};

#[tonic::async_trait]
impl DiagnosisService for Diagnoses {
    async fn find_room(&self, request: Request<pb::FindRoomRequest>) -> RpcResult<pb::FindRoomResponse> {
        let request = request.into_inner();
        let caller = maybe_caller(request.caller)?;
        let instead = |not_known: Diagnosis| pb::FindRoomResponse {
            not_known: Some(not_known.into()),
            ..pb::FindRoomResponse::default()
        };
        let found = self.find_target(caller.as_ref(), &request.reference).await?;
        Ok(Response::new(match found {
            None => instead(verdict::not_known(super::is_admin(caller.as_ref()))),
            Some(FoundTarget::Other { names, belongs_to }) => instead(verdict::mismatch(names, belongs_to)),
            Some(FoundTarget::Room(target)) => {
                pb::FindRoomResponse { kind: target.kind.into(), id: target.id.to_string(), not_known: None }
            }
        }))
    }

    async fn diagnose(&self, request: Request<pb::DiagnoseRequest>) -> RpcResult<pb::Diagnosis> {
        let request = request.into_inner();
        let caller = maybe_caller(request.caller)?;
        let mut wrong = Fields::default();
        let target = wrong.check_or(
            target(request.kind, &request.id),
            Target { kind: TargetKind::Session, id: Uuid::nil() },
        );
        let decision = wrong.check(decision(&request.code));
        wrong.finish()?;
        Ok(Response::new(self.diagnose(caller.as_ref(), target, decision).await?.into()))
    }

    async fn check_repair(&self, request: Request<pb::RepairRequest>) -> RpcResult<pb::CheckRepairResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let target = target(request.kind, &request.id)?;
        let proof = request.proof.map(|given| replay::proof(Some(given))).transpose()?;
        let repeated = Diagnoses::check_repair(self, &caller, proof.as_ref(), target).await?;
        Ok(Response::new(pb::CheckRepairResponse { repeated }))
    }

    async fn repair(&self, request: Request<pb::RepairRequest>) -> RpcResult<pb::RepairResponse> {
        let request = request.into_inner();
        let caller = caller(request.caller)?;
        let target = target(request.kind, &request.id)?;
        let proof = request.proof.map(|given| replay::proof(Some(given))).transpose()?;
        let diagnoses = self.clone();
        let flow = async move { diagnoses.repair_target(&caller, proof.as_ref(), target).await };
        let repaired = self.rooms.run("repair", flow).await?;
        Ok(Response::new(pb::RepairResponse { repaired }))
    }
}

/// An anonymous request, or a valid caller.
fn maybe_caller(sent: Option<Caller>) -> Result<Option<Caller>, Refusal> {
    sent.map(|sent| caller(Some(sent))).transpose()
}

fn target(kind: i32, id: &str) -> Result<Target, Refusal> {
    Ok(Target { kind: one_of("kind", kind)?, id: uuid("id", id)? })
}

fn decision(code: &str) -> Result<Decision, Refusal> {
    match code {
        "ok" => Ok(None),
        code => {
            code.parse().map(Some).map_err(|()| Refusal::invalid("code", "must be ok or a code of a refusal"))
        }
    }
}

impl From<Diagnosis> for pb::Diagnosis {
    fn from(diagnosis: Diagnosis) -> Self {
        let texts = diagnosis.cause.texts();
        Self {
            checks: diagnosis.checks.into_iter().map(check).collect(),
            scenario: diagnosis.cause.scenario().into(),
            code: diagnosis.cause.code().to_owned(),
            diagnosis: texts.diagnosis.to_owned(),
            likely_cause: texts.likely_cause.to_owned(),
            fix: diagnosis.fix.to_owned(),
            facts: diagnosis.facts.into_iter().map(|(fact, value)| (fact.to_owned(), value)).collect(),
            repaired: diagnosis.repaired,
        }
    }
}

fn check(finding: verdict::Finding) -> pb::Check {
    pb::Check {
        check: finding.check.to_owned(),
        ok: finding.ok,
        detail: finding.detail,
        took_ms: u32::try_from(finding.took.as_millis()).unwrap_or(u32::MAX),
    }
}
