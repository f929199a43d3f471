"""Random decoders of Whisper models."""

import transformers as hf

from tests.convert.families.models import drawn


@drawn("causal")
def any_whisper(rng, head):
    del head
    heads = rng.choice([1, 2, 3])
    config = hf.WhisperConfig(
        vocab_size=rng.randrange(50, 140),
        d_model=2 * heads * rng.choice([2, 4, 6]),
        encoder_layers=1,
        encoder_attention_heads=heads,
        decoder_layers=rng.randrange(1, 4),
        decoder_attention_heads=2 * heads,
        decoder_ffn_dim=rng.randrange(20, 60),
        activation_function=rng.choice(["gelu", "relu"]),
        scale_embedding=rng.random() < 0.5,
        max_target_positions=rng.randrange(20, 50),
        tie_word_embeddings=rng.random() < 0.7,
        pad_token_id=rng.choice([0, 1]),
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=4,
        attn_implementation="eager",
    )
    return hf.WhisperForCausalLM(config)
