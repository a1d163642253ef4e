//! Configuration files: found, read, and handed section by section to their owners.
