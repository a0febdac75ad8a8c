//! The diagnosis service: it finds the session and the nest for all callers, and every check succeeds.

use domain::{Scenario, TargetKind};
use proto::room::v1::{self as pb, diagnosis_service_server::DiagnosisService};
use tonic::{Request, Response};

use super::{Answer, Fake, NEST, SESSION};

fn diagnosis(scenario: Scenario, code: &str) -> pb::Diagnosis {
    let record =
        pb::Check { check: "record".into(), ok: Some(scenario == Scenario::Ok), ..pb::Check::default() };
    pb::Diagnosis {
        checks: vec![record],
        scenario: scenario.into(),
        code: code.into(),
        facts: [("clock_skew_seconds".into(), "-31".into()), ("kind".into(), "session".into())].into(),
        ..pb::Diagnosis::default()
    }
}

#[tonic::async_trait]
impl DiagnosisService for Fake {
    async fn find_room(&self, request: Request<pb::FindRoomRequest>) -> Answer<pb::FindRoomResponse> {
        let caller = |request: &pb::FindRoomRequest| request.caller.clone();
        let (request, _) = self.take("find_room", request, caller).await?;
        let is_nest = request.reference.contains(NEST);
        let known = is_nest || request.reference.contains(SESSION);
        Ok(Response::new(pb::FindRoomResponse {
            kind: if is_nest { TargetKind::Nest } else { TargetKind::Session }.into(),
            id: if is_nest { NEST } else { SESSION }.into(),
            not_known: (!known).then(|| diagnosis(Scenario::B, "room_not_known")),
        }))
    }

    async fn diagnose(&self, request: Request<pb::DiagnoseRequest>) -> Answer<pb::Diagnosis> {
        let caller = |request: &pb::DiagnoseRequest| request.caller.clone();
        self.take("diagnose", request, caller).await?;
        Ok(Response::new(diagnosis(Scenario::Ok, "ok")))
    }

    async fn check_repair(&self, request: Request<pb::RepairRequest>) -> Answer<pb::CheckRepairResponse> {
        let caller = |request: &pb::RepairRequest| request.caller.clone();
        let (request, _) = self.take("check_repair", request, caller).await?;
        let repeated = request.proof.is_some_and(|proof| self.is_known(&proof));
        Ok(Response::new(pb::CheckRepairResponse { repeated }))
    }

    async fn repair(&self, request: Request<pb::RepairRequest>) -> Answer<pb::RepairResponse> {
        let caller = |request: &pb::RepairRequest| request.caller.clone();
        let (request, _) = self.take("repair", request, caller).await?;
        if request.kind() == proto::types::v1::TargetKind::Nest {
            self.is_new(request.proof);
        }
        Ok(Response::new(pb::RepairResponse { repaired: true }))
    }
}
