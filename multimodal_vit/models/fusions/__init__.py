"""Fusions: named token sequences in, one summary vector [B, D] and intermediates out."""

_HERE = "multimodal_vit.models.fusions"
COMPONENTS = {
    "single_encoder": f"{_HERE}.single_encoder",
    "bayes_rule": f"{_HERE}.bayes_rule",
    "concatenation": f"{_HERE}.late",
    "addition": f"{_HERE}.late",
}
