//! Booked sessions: who may join, and the response with the token.

use chassis::{field::non_empty, grpc::timestamp};
use domain::{Owner, Role, SessionStatus};
use proto::token::v1::{IssueForSessionResponse, Person};
use time::OffsetDateTime;

use crate::{
    decision::{JoinRow, Permit, Record, Refused, StoredProfile},
    issue::Issued,
    store::Join,
};

impl JoinRow for Join {
    fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn signed_at(&self) -> OffsetDateTime {
        self.signed_at
    }

    fn permit(&self) -> Result<Permit, Refused> {
        let role = self.role.ok_or(Refused::NotParticipant)?;
        if let Some(refused) = refused(self) {
            return Err(refused);
        }
        Ok(Permit {
            owner: Owner::Session(self.session_id),
            token_role: role.into(),
            left: self.closes_at - self.now,
        })
    }

    fn record(&self) -> Record<'_> {
        Record {
            id: self.room_id,
            status: self.room_status,
            name: self.room_name.as_deref(),
            generation: self.generation,
            confirmed_at: self.confirmed_at,
            closing_at: self.closing_at,
        }
    }

    fn stored_profile(&self) -> Option<StoredProfile<'_>> {
        let role = self.role?;
        Some(StoredProfile {
            name: self.own_name.as_deref(),
            email: self.own_email.as_deref(),
            email_verified: self.own_email_verified,
            avatar: self.own_avatar.as_deref(),
            booked: self.guest_name.as_deref().filter(|_| !role.is_host()),
        })
    }
}

fn refused(row: &Join) -> Option<Refused> {
    match row.status {
        SessionStatus::Cancelled => Some(Refused::Cancelled),
        SessionStatus::Completed | SessionStatus::NoShow => Some(Refused::Ended),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now >= row.closes_at => {
            Some(Refused::Ended)
        }
        SessionStatus::Scheduled | SessionStatus::InProgress if row.kicked => Some(Refused::Kicked),
        SessionStatus::Scheduled | SessionStatus::InProgress if row.now < row.opens_at => {
            Some(Refused::TooEarly(row.opens_at))
        }
        SessionStatus::Scheduled | SessionStatus::InProgress => None,
    }
}

pub fn response(row: &Join, issued: Issued) -> IssueForSessionResponse {
    IssueForSessionResponse {
        token: issued.token,
        ws_url: issued.ws_url,
        room_name: issued.room_name,
        identity: issued.identity,
        participant_name: issued.name,
        role: row.role.map(i32::from).unwrap_or_default(),
        can_record: issued.token_role.can_record,
        expires_at: Some(timestamp(issued.expires_at)),
        title: row.title.clone(),
        scheduled_at: Some(timestamp(row.scheduled_at)),
        opens_at: Some(timestamp(row.opens_at)),
        closes_at: Some(timestamp(row.closes_at)),
        other_participant: Some(other_person(row)),
    }
}

fn other_person(row: &Join) -> Person {
    let booked = row.guest_name.as_ref().filter(|_| row.role == Some(Role::Host));
    Person {
        id: row.other_id.clone(),
        name: row.other_name.as_ref().or(booked).unwrap_or(&row.other_id).clone(),
        avatar_url: row.other_avatar.clone().and_then(non_empty),
    }
}
