//! Compares the contents of two requests with the same idempotency key.

use prost::Message;
use proto::{
    booking::v1::CreateBookingRequest,
    room::v1::{GoLiveRequest, StartRecordingRequest},
};
use sha2::{Digest, Sha256};

/// A request that may be repeated with an idempotency key.
pub trait Repeatable: Message + Clone {
    /// The request without its caller, its key, and what differs each time that it is sent.
    #[must_use]
    fn content(&self) -> Self;
}

impl Repeatable for CreateBookingRequest {
    fn content(&self) -> Self {
        Self { caller: None, idempotency_key: None, ..self.clone() }
    }
}

impl Repeatable for GoLiveRequest {
    fn content(&self) -> Self {
        Self { caller: None, idempotency_key: None, ..self.clone() }
    }
}

impl Repeatable for StartRecordingRequest {
    /// Each attempt is signed again, so its proof differs.
    fn content(&self) -> Self {
        Self { caller: None, idempotency_key: None, proof: None, ..self.clone() }
    }
}

/// Hashes a request's fields as they are encoded: by their numbers, so that renaming a field does not change the hash.
/// Maps have no order and would make the hash random; no repeatable request has one.
#[must_use]
pub fn request_hash(request: &impl Repeatable) -> Vec<u8> {
    Sha256::digest(request.content().encode_to_vec()).to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::encoding::{WireType, encode_key, encode_varint};
    use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

    use super::*;

    fn descriptor(name: &str) -> DescriptorProto {
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
        let mut messages = files.file.into_iter().flat_map(|file| file.message_type);
        messages.find(|message| message.name() == name).unwrap()
    }

    /// A request in which only this field differs from its default.
    fn with_field<R: Repeatable + Default>(number: u32, kind: Type) -> R {
        let mut bytes = Vec::new();
        match kind {
            Type::String | Type::Bytes => {
                encode_key(number, WireType::LengthDelimited, &mut bytes);
                encode_varint(1, &mut bytes);
                bytes.push(b'x');
            }
            Type::Message => {
                // Field 1 of the message is 1 or `x`: a number in timestamps, a text in the others.
                for value in [&[8, 1][..], &[10, 1, b'x']] {
                    let mut message = bytes.clone();
                    encode_key(number, WireType::LengthDelimited, &mut message);
                    encode_varint(value.len() as u64, &mut message);
                    message.extend(value);
                    if let Ok(request) = R::decode(message.as_slice()) {
                        return request;
                    }
                }
                panic!("field {number} takes neither a number nor a text");
            }
            _ => {
                encode_key(number, WireType::Varint, &mut bytes);
                encode_varint(1, &mut bytes);
            }
        }
        R::decode(bytes.as_slice()).unwrap()
    }

    fn hash_of_each_field<R: Repeatable + Default>(name: &str, without: &[&str]) {
        let mut seen = HashMap::from([(request_hash(&R::default()), "none".to_owned())]);
        for field in descriptor(name).field {
            let request = with_field::<R>(field.number().unsigned_abs(), field.r#type());
            let hash = request_hash(&request);
            if without.contains(&field.name()) {
                assert_eq!(hash, request_hash(&R::default()), "{name}.{}", field.name());
            } else if let Some(other) = seen.insert(hash, field.name().to_owned()) {
                panic!("{name}: {} and {other} have the same hash", field.name());
            }
        }
    }

    #[test]
    fn request_hash_changes_with_each_field_of_its_content() {
        let sender = ["caller", "idempotency_key"];
        hash_of_each_field::<CreateBookingRequest>("CreateBookingRequest", &sender);
        hash_of_each_field::<GoLiveRequest>("GoLiveRequest", &sender);
        hash_of_each_field::<StartRecordingRequest>(
            "StartRecordingRequest",
            &["caller", "idempotency_key", "proof"],
        );
    }
}
