"""Files on a local disk or at an address, complete and checked."""
