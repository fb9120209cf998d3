//! How a row of logits becomes a token.

use crate::pie::core::inference;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// The most likely token.
    Argmax,
    TopP { temperature: f32, p: f32 },
    TopK { temperature: f32, k: u32 },
    MinP { temperature: f32, p: f32 },
    TopKTopP { temperature: f32, k: u32, p: f32 },
    /// All tokens; `seed` 0 leaves the seed to the engine.
    Multinomial { temperature: f32, seed: u32 },
}

impl Sampler {
    pub(crate) fn to_wit(self) -> inference::Sampler {
        use inference::Sampler as Wit;
        match self {
            Sampler::Argmax => Wit::TopP((0.0, 1.0)),
            Sampler::TopP { temperature, p } => Wit::TopP((temperature, p)),
            Sampler::TopK { temperature, k } => Wit::TopK((temperature, k)),
            Sampler::MinP { temperature, p } => Wit::MinP((temperature, p)),
            Sampler::TopKTopP { temperature, k, p } => Wit::TopKTopP((temperature, k, p)),
            Sampler::Multinomial { temperature, seed } => Wit::Multinomial((temperature, seed)),
        }
    }
}
