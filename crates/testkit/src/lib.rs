//! What Greenroom's tests share: seeds, servers on ports, eventually.
