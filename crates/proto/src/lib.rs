//! Generated code of Greenroom's gRPC interfaces. Only the module tree and `caller` are written by hand.

mod caller;

/// Every interface, as a serialized `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod types {
    pub mod v1 {
        tonic::include_proto!("greenroom.types.v1");
    }
}

pub mod booking {
    pub mod v1 {
        tonic::include_proto!("greenroom.booking.v1");
    }
}

pub mod room {
    pub mod v1 {
        tonic::include_proto!("greenroom.room.v1");
    }
}

pub mod token {
    pub mod v1 {
        tonic::include_proto!("greenroom.token.v1");
    }
}

pub mod sync {
    pub mod v1 {
        tonic::include_proto!("greenroom.sync.v1");
    }
}
