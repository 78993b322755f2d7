//! Brings images into the store: registries, archives, layers.
