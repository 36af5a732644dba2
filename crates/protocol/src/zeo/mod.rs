//! What the two encodings of ZEO's protocol share: the method table and the shapes of results.
