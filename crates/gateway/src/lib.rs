//! Greenroom's HTTP gateway: web clients' requests go to the services over gRPC.
