"""The devices of one machine."""
