//! Puts a network namespace on a network: bridges, addresses, firewall, ports, pasta.
