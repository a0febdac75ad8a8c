//! The decision without the token: what a caller would be told now. Reads, changes nothing, asks nobody.

use chassis::{
    field::one_of,
    grpc::{caller, uuid},
    status::{Reason, Refusal},
};
use domain::TargetKind;
use proto::token::v1::{ExplainRequest, ExplainResponse};
use uuid::Uuid;

use crate::{decision::Door, error::Error, issue::Issuer};

impl Issuer {
    pub async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Error> {
        let person = request.caller.map(|who| caller(Some(who))).transpose().map_err(Error::Request)?;
        let id: Uuid = uuid("id", &request.id).map_err(Error::Request)?;
        let kind = one_of("kind", request.kind).map_err(Error::Request)?;
        let refused = match (kind, person) {
            (TargetKind::Nest, person) => {
                self.nest_door(id.into(), person.as_ref()).await.and_then(|row| permit(&row))
            }
            (_, None) => Err(Error::Request(Refusal::new(Reason::Unauthenticated, "Sign in first."))),
            (TargetKind::Session, Some(person)) => {
                self.session_join(id.into(), &person).await.and_then(|row| permit(&row))
            }
            (TargetKind::LiveRoom, Some(person)) => {
                self.live_join(id.into(), &person).await.and_then(|row| permit(&row))
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

fn permit(row: &impl Door) -> Result<(), Error> {
    row.permit().map(drop).map_err(Error::from)
}
