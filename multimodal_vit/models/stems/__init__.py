"""Stems: what an image passes through before it is cut into patches."""

_HERE = "multimodal_vit.models.stems"
COMPONENTS = {
    "conv": f"{_HERE}.conv",
    "strided": f"{_HERE}.strided",
    "residual": f"{_HERE}.residual",
    "mbconv": f"{_HERE}.mbconv",
}
