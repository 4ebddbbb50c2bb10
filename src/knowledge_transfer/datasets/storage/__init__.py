"""Files on a local disk or at an address: whole or absent, and checked."""
