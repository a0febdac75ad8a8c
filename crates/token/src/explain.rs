//! The decision without the token: returns the code that a token request would get now. Read-only; calls no other
//! service.

use chassis::{
    grpc::{caller, uuid},
    status::{Reason, Refusal},
};
use domain::{TargetKind, field::one_of};
use proto::token::v1::{ExplainRequest, ExplainResponse};
use uuid::Uuid;

use crate::{
    decision::{permit_live_room, permit_session},
    error::Error,
    issue::Issuer,
};

impl Issuer {
    pub async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Error> {
        let caller = request.caller.map(|given| caller(Some(given))).transpose().map_err(Error::Request)?;
        let id: Uuid = uuid("id", &request.id).map_err(Error::Request)?;
        let kind = one_of("kind", request.kind).map_err(|wrong| Error::Request(wrong.into()))?;
        let permit = match (kind, caller) {
            (TargetKind::Nest, caller) => {
                let row = self.nest_join(id.into(), caller.as_ref()).await;
                row.and_then(|row| Ok(self.nest_snapshot(&row, caller.as_ref()).permit?))
            }
            (_, None) => Err(Error::Request(Refusal::new(Reason::Unauthenticated, "Sign in first."))),
            (TargetKind::Session, Some(caller)) => {
                self.session_join(id.into(), &caller).await.and_then(|row| Ok(permit_session(&row)?))
            }
            (TargetKind::LiveRoom, Some(caller)) => {
                self.live_join(id.into(), &caller).await.and_then(|row| Ok(permit_live_room(&row)?))
            }
        };
        match permit {
            Ok(_) => Ok(ExplainResponse { code: "ok".to_owned(), ..ExplainResponse::default() }),
            Err(error @ Error::Database(_)) => Err(error),
            Err(error) => {
                let Refusal { reason, message, facts, .. } = error.into();
                Ok(ExplainResponse {
                    code: reason.code().to_owned(),
                    message,
                    facts: facts.into_iter().collect(),
                })
            }
        }
    }
}
