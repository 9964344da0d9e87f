"""The upper layer protocol (PS3.8 §7, §9.2): states, negotiation, the protocol machine. No socket, no clock."""
