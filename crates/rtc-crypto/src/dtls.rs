//! DTLS for str0m: dimpl with the primitives of ring.

mod cipher;
mod exchange;
mod hash;
mod signature;

use std::sync::Arc;
use std::time::Instant;

use dimpl::CryptoOperation;
use dimpl::crypto::{CryptoProvider, SecureRandom};
use ring::rand::{SecureRandom as _, SystemRandom};
use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};

/// Returns the primitives for dimpl. One cipher suite and two groups suffice: every WebRTC client has them.
pub fn primitives() -> CryptoProvider {
    CryptoProvider {
        kx_groups: exchange::GROUPS,
        signature_verification: &signature::Verifier,
        key_provider: &signature::Keys,
        secure_random: &Random,
        hash_provider: &hash::Hashes,
        hmac_provider: &hash::Hashes,
        cipher_suites: &[&cipher::Aes128GcmSha256],
        // dimpl refuses an empty list, also where DTLS 1.3 is never used.
        dtls13_cipher_suites: &[&cipher::Aes128GcmSha256],
    }
}

#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), dimpl::CryptoError> {
        SystemRandom::new()
            .fill(buffer)
            .map_err(|_| dimpl::CryptoError::OperationFailed(CryptoOperation::FillRandom))
    }
}

#[derive(Debug)]
pub struct Dtls;

impl DtlsProvider for Dtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        crate::certificate::generate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        // Every WebRTC client has DTLS 1.2, so 1.3 is not needed.
        if version != DtlsVersion::Dtls12 {
            return Err(CryptoError::Other(format!("{version} is not supported")));
        }
        // No cookie: ICE has verified the peer's address before its first DTLS packet is read.
        let mut config = dimpl::Config::builder().use_server_cookie(false).with_crypto_provider(primitives());
        if let Some(mtu) = mtu {
            config = config.mtu(mtu);
        }
        let config = config.build()?;
        Ok(Box::new(Instance(dimpl::Dtls::new_12(Arc::new(config), cert.clone(), now))))
    }
}

#[derive(Debug)]
struct Instance(dimpl::Dtls);

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
