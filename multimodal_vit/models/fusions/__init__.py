"""Fusions: named token sequences in, one summary vector [B, D] and intermediates out."""

_HERE = "multimodal_vit.models.fusions"
COMPONENTS = {
    "single_encoder": f"{_HERE}.single_encoder",
    "product": f"{_HERE}.towers",
    "concat": f"{_HERE}.towers",
    "add": f"{_HERE}.towers",
    "concat_linear": f"{_HERE}.towers",
    "clip": f"{_HERE}.clip",
    "vilbert": f"{_HERE}.vilbert",
    "flava": f"{_HERE}.flava",
    "late_transformer": f"{_HERE}.flava",
    "perceiver": f"{_HERE}.perceiver",
    "mbt": f"{_HERE}.mbt",
    "bag": f"{_HERE}.pooled",
    "lowrank": f"{_HERE}.pooled",
    "mlp": f"{_HERE}.pooled",
    "bayes_rule": f"{_HERE}.bayes_rule",
    "concatenation": f"{_HERE}.late",
    "addition": f"{_HERE}.late",
}
