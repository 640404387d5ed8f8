"""Embeddings: raw inputs in, token sequences [B, T, D] out, one file for each modality."""

_HERE = "multimodal_vit.models.embeddings"
COMPONENTS = {
    "words": f"{_HERE}.words",
    "patches": f"{_HERE}.patches",
    "audio": f"{_HERE}.audio",
    "image_features": f"{_HERE}.image_features",
    "audio_features": f"{_HERE}.audio_features",
    "word_ids": f"{_HERE}.word_ids",
    "quadrants": f"{_HERE}.quadrants",
}
