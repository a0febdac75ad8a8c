//! Greenroom's rooms: the only service that changes anything on LiveKit.
