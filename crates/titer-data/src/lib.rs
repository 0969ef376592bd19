//! Text as tokens: vocabularies, examples, packing, seeded sampling, splits, and the embedded world.
