//! Sending: segments go to the coordinator, numbered, repeated until acknowledged.
