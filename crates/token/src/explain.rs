//! The decision without the token: returns the code that a token request would get now. Read-only; calls no other
//! service.

use chassis::{
    field::one_of,
    grpc::{caller, uuid},
    status::{Reason, Refusal},
};
use domain::TargetKind;
use proto::token::v1::{ExplainRequest, ExplainResponse};
use uuid::Uuid;

use crate::{decision::JoinRow, error::Error, issue::Issuer};

impl Issuer {
    pub async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Error> {
        let caller = request.caller.map(|given| caller(Some(given))).transpose().map_err(Error::Request)?;
        let id: Uuid = uuid("id", &request.id).map_err(Error::Request)?;
        let kind = one_of("kind", request.kind).map_err(Error::Request)?;
        let refused = match (kind, caller) {
            (TargetKind::Nest, caller) => {
                self.nest_join_row(id.into(), caller.as_ref()).await.and_then(|row| permit(&row))
            }
            (_, None) => Err(Error::Request(Refusal::new(Reason::Unauthenticated, "Sign in first."))),
            (TargetKind::Session, Some(caller)) => {
                self.session_join(id.into(), &caller).await.and_then(|row| permit(&row))
            }
            (TargetKind::LiveRoom, Some(caller)) => {
                self.live_join(id.into(), &caller).await.and_then(|row| permit(&row))
            }
        };
        match refused {
            Ok(()) => Ok(ExplainResponse { code: "ok".to_owned(), ..ExplainResponse::default() }),
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

fn permit(row: &impl JoinRow) -> Result<(), Error> {
    row.permit().map(drop).map_err(Error::from)
}
