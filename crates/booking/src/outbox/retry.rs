//! When a delivery is tried again, and when it is given up.

use crate::store::ClaimTerms;

/// How long a claimed delivery belongs to its worker; longer than a batch takes.
const LEASE_SECONDS: f64 = 60.0;
/// How long a delivery is retried. Then it is given up.
const RETRY_HOURS: i32 = 72;
pub const CLAIM_TERMS: ClaimTerms = ClaimTerms { lease_seconds: LEASE_SECONDS, retry_hours: RETRY_HOURS };

const FIRST_BACKOFF_SECONDS: f64 = 5.0;
const MAX_BACKOFF_SECONDS: f64 = 3600.0;

/// Returns the seconds until the next attempt. They double each time and have jitter, so that retries spread.
pub fn backoff(attempts: i32) -> f64 {
    let doubled = FIRST_BACKOFF_SECONDS * 2_f64.powi((attempts - 1).clamp(0, 20));
    doubled.min(MAX_BACKOFF_SECONDS) * rand::random_range(0.5..1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_up_to_an_hour() {
        assert!((2.5..5.0).contains(&backoff(1)));
        assert!((20.0..40.0).contains(&backoff(4)));
        for attempts in [0, 11, 100, i32::MAX] {
            assert!(backoff(attempts) <= MAX_BACKOFF_SECONDS, "{attempts}");
        }
        assert!(backoff(100) >= MAX_BACKOFF_SECONDS / 2.0);
    }
}
