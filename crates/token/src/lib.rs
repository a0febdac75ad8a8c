//! Greenroom's access tokens: one select, a pure decision, a signature.
