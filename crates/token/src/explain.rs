//! The decision without the token: what a caller would be told now. Reads, changes nothing, asks nobody.

use chassis::{
    grpc::{caller, uuid},
    status::{Reason, Refusal},
};
use domain::OwnerKind;
use proto::token::v1::{ExplainRequest, ExplainResponse};

use crate::{decision::Row, error::Error, issue::Issuer};

impl Issuer {
    pub async fn explain(&self, request: ExplainRequest) -> Result<ExplainResponse, Error> {
        let person = request.caller.map(|who| caller(Some(who))).transpose().map_err(Error::Request)?;
        let id = uuid("id", &request.id).map_err(Error::Request)?;
        let kind = kind(&request.kind)?;
        let refused = match (kind, person) {
            (OwnerKind::Nest, person) => {
                self.nest_door(id, person.as_ref()).await.and_then(|row| permit(&row))
            }
            (_, None) => Err(Error::Request(Refusal::new(Reason::Unauthenticated, "Sign in first."))),
            (OwnerKind::Session, Some(person)) => {
                self.session_join(id, &person).await.and_then(|row| permit(&row))
            }
            (OwnerKind::LiveSession, Some(person)) => {
                self.live_join(id, &person).await.and_then(|row| permit(&row))
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

fn permit(row: &impl Row) -> Result<(), Error> {
    row.permit().map(drop).map_err(Error::from)
}

fn kind(name: &str) -> Result<OwnerKind, Error> {
    match name {
        "session" => Ok(OwnerKind::Session),
        "live_room" => Ok(OwnerKind::LiveSession),
        "nest" => Ok(OwnerKind::Nest),
        _ => Err(Error::Request(Refusal::invalid("kind", "must be session, live_room or nest"))),
    }
}
