//! The families of routes. The path decides the shape of refusals: clients of the replaced systems expect their own
//! shape.

use uuid::Uuid;

/// The path prefix of the routes of live rooms and of the listing.
pub(crate) const LIVE: &str = "/api/v1/live";
/// The path prefix of the routes of nests, except the route that streams a nest over HLS.
pub(crate) const NESTS: &str = "/api/v1/nests";
/// The path prefix of the HLS route, before the id of the nest. In a route of live rooms, no UUID follows this prefix.
pub(crate) const HLS: &str = "/api/v1/live/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `/api`, the health routes and everything else.
    Api,
    Live,
    Nests,
}

impl Family {
    /// Returns the family of a path, whether the route exists or not.
    pub(crate) fn of(path: &str) -> Self {
        let nest = || path.strip_prefix(HLS).and_then(|rest| rest.split('/').next());
        // The HLS route of nests is below the prefix of live rooms; its id tells them apart.
        if is_below(path, NESTS) || nest().is_some_and(|id| Uuid::try_parse(id).is_ok()) {
            Self::Nests
        } else if is_below(path, LIVE) {
            Self::Live
        } else {
            Self::Api
        }
    }
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_decides_the_family_with_or_without_a_route() {
        let nest = "/api/v1/live/0190b3c4-0000-7000-8000-000000000001/live.m3u8";
        for (path, family) in [
            ("/api/v1/live", Family::Live),
            ("/api/v1/live/rooms/me", Family::Live),
            ("/api/v1/live/nothing", Family::Live),
            ("/api/v1/lively", Family::Api),
            ("/api/v1/nests", Family::Nests),
            ("/api/v1/nests/1/info", Family::Nests),
            (nest, Family::Nests),
            ("/api/bookings", Family::Api),
        ] {
            assert_eq!(Family::of(path), family, "{path}");
        }
    }
}
