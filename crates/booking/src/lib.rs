//! Greenroom's bookings: scheduled sessions between a host and a guest.
